pages! {
    allowances = "allowances";
    budgets = "budgets";
    failures = "failures";
    guides_coming_from_autogpt_copilot = "guides/coming-from-autogpt-copilot";
    guides_coming_from_coder = "guides/coming-from-coder";
    guides_coming_from_heliosdb_proxy = "guides/coming-from-heliosdb-proxy";
    guides_coming_from_quota_py = "guides/coming-from-quota-py";
    guides_coming_from_surfsense = "guides/coming-from-surfsense";
    policy = "policy";
    prices = "prices";
    reservations = "reservations";
    slots = "slots";
    start = "start";
    usage_bodies = "usage-bodies";
    windows = "windows";
    workflows = "workflows";
}
