//! The state machine of one query.

mod assign;
mod check;
mod choices;
mod dirty;
mod event;
mod hand_out;
mod kernel;
mod limits;
mod partitions;
mod phase;
mod recover;
mod stage;

pub use event::{ControllerAction, ControllerEvent};
pub use kernel::{ControllerKernel, Footprint, StageView};
pub use limits::Limits;
pub use phase::StagePhase;
