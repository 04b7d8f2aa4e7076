pages! {
    allowances = "allowances";
    bounds = "bounds";
    budgets = "budgets";
    events = "events";
    failures = "failures";
    guides_an_llm_gateway = "guides/an-llm-gateway";
    guides_coming_from_autogpt_copilot = "guides/coming-from-autogpt-copilot";
    guides_coming_from_coder = "guides/coming-from-coder";
    guides_coming_from_heliosdb_proxy = "guides/coming-from-heliosdb-proxy";
    guides_coming_from_quota_py = "guides/coming-from-quota-py";
    guides_coming_from_surfsense = "guides/coming-from-surfsense";
    guides_sub_agents = "guides/sub-agents";
    persistence = "persistence";
    policy = "policy";
    prices = "prices";
    reservations = "reservations";
    resets = "resets";
    slots = "slots";
    start = "start";
    usage_bodies = "usage-bodies";
    windows = "windows";
    workflows = "workflows";
}
