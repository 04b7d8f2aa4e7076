pages! {
    budgets = "budgets";
    failures = "failures";
    policy = "policy";
    prices = "prices";
    reservations = "reservations";
    start = "start";
    usage_bodies = "usage-bodies";
    windows = "windows";
}
