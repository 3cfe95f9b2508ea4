//! Speed scenarios: how many deliveries a second of processor buys, and how long they take, beside what they are compared with.
//!
//! A scenario starts contenders in turn, several times over, loads each in the same way and writes rows. What is compared is
//! compared within one run, since machines are slow on some days; what is told is the median of the runs.
//!
//! # To add a scenario
//! 1. A file in `scenarios` with a `Scenario` (name, one line of what it is about, `run`), and its line in `scenarios::ALL`.
//! 2. `run` gets the [`stage::Stage`]. Most say who is measured (`contender::Contender`) and with what load (`plan::Group`:
//!    channels, subscribers, who publishes, how fast), and call `stage.interleave(…)`, which brings the outcomes of all runs.
//! 3. What needs another kind of load than that starts its contender with `stage.start(…)`, does what it likes to
//!    `running.urls`, and reads processor and memory of `running.watched` with `Watched::usage`.
//! 4. Each figure is a row: `stage.row(figure, sample, unit)`, and `.at_least(bound)` or `.at_most(bound)` where something is
//!    promised. Whatever was lost or out of order is in the outcomes' `damage`; `interleave` has told and counted it already.
//! 5. A short form for the tests follows from the stage: [`stage::Stage::pick`] takes the small one of two sizes.

mod args;
mod contender;
pub(crate) mod load;
mod machine;
mod pin;
mod plan;
mod program;
mod redis_stats;
mod report;
mod sample;
mod scenarios;
mod stage;
mod tokens;
mod usage;

pub(crate) use args::SpeedArgs;
