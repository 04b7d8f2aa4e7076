//! Every interleaving of a workflow's end with its steps.

use loom::thread;

use super::*;
use crate::clock::ManualClock;
use crate::engine::Engine;
use crate::policy::Policy;
use crate::sync::explore;

fn rig(spec: WorkflowSpec) -> (Engine, Workflow) {
    let policy = Policy::builder().resource("tokens", Unit::Count).kind("agent").build().unwrap();
    let engine = Engine::builder(policy).clock(&ManualClock::at(Timestamp::UNIX_EPOCH)).build();
    let workflow = engine.scope(["agent:a"]).unwrap().begin_workflow("wf", spec).unwrap();
    (engine, workflow)
}

#[test]
fn loom_workflow_end_against_step() {
    explore(3, || {
        let (engine, workflow) = rig(WorkflowSpec::new().steps(5));
        let clone = workflow.clone();
        let steps = thread::spawn(move || u64::from(clone.step().is_ok()));
        workflow.end();
        let counted = workflow.steps().taken();
        assert!(workflow.step().is_err());
        let stepped = steps.join().unwrap();
        assert_eq!((counted, workflow.steps().taken()), (stepped, stepped), "none after the end");
        assert_eq!(engine.active_workflows(), 0);
    });
}

#[test]
fn loom_workflow_steps_at_the_limit() {
    explore(3, || {
        let (_engine, workflow) = rig(WorkflowSpec::new().steps(1));
        let clone = workflow.clone();
        let other = thread::spawn(move || clone.step().is_ok());
        let mine = workflow.step().is_ok();
        assert!(mine != other.join().unwrap(), "exactly one");
    });
}

#[test]
fn loom_workflow_ends_once() {
    explore(3, || {
        let (engine, workflow) = rig(WorkflowSpec::new());
        let clone = workflow.clone();
        let other = thread::spawn(move || clone.end());
        let mine = workflow.end();
        assert!(mine != other.join().unwrap());
        assert_eq!(engine.active_workflows(), 0);
    });
}
