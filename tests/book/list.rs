pages! {
    budgets = "budgets";
    failures = "failures";
    guides_coming_from_coder = "guides/coming-from-coder";
    guides_coming_from_heliosdb_proxy = "guides/coming-from-heliosdb-proxy";
    policy = "policy";
    prices = "prices";
    reservations = "reservations";
    start = "start";
    usage_bodies = "usage-bodies";
    windows = "windows";
}
