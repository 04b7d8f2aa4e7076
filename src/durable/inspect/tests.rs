use std::fs;

use super::*;
use crate::durable::{Persist, SalvageError, salvage};
use crate::engine::Engine;
use crate::persist::Opening;
use crate::policy::Policy;

#[test]
fn entries_of_a_later_release_are_not_damage() {
    let dir = std::env::temp_dir().join(format!("encumber-newer-entries-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    let opening = Opening::new(Arc::new(Disk::open(&dir).unwrap()), &mut |_| Ok(())).unwrap();
    drop(opening.publish(|writer| writer.push(&[7, 1, 2, 3])).unwrap());
    let is_newer = |error: &OpenError| matches!(error, OpenError::NewerVersion { version: 7, .. });
    assert!(inspect(&dir).is_err_and(|error| is_newer(&error)));
    let salvaged = salvage(&dir, dir.join("saved"));
    assert!(matches!(salvaged, Err(SalvageError::Open(error)) if is_newer(&error)));
    let opened = Engine::builder(Policy::builder().build().unwrap()).persist(Persist::journal(&dir)).build();
    assert!(opened.is_err_and(|error| is_newer(&error)));
    fs::remove_dir_all(&dir).unwrap();
}
