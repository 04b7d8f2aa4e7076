pages! {
    budgets = "budgets";
    failures = "failures";
    policy = "policy";
    reservations = "reservations";
    start = "start";
    windows = "windows";
}
