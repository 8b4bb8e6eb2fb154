//! Drawing: grids of pictures, plots, and reports.
//!
//! All pictures are 8-bit sRGB on white, with colours that colour-blind readers can distinguish and a font of their
//! own, so that they look the same on every machine. Files are written atomically.

mod animation;
mod axis;
mod canvas;
mod clouds;
pub(crate) mod colour;
mod compare;
mod curves;
mod density;
mod flow;
mod frame;
mod grid;
mod layer;
mod movement;
mod nearest;
mod page;
mod path;
mod plot;
mod progress;
mod report;
mod rows;
mod samples;
mod save;
mod schedule;
mod stack;
mod work;

pub use animation::{Animation, save_animation};
pub use compare::{Set, pair_plot, side_by_side};
pub use curves::training_curves;
pub use density::densities;
pub(crate) use flow::{Paths, flow};
pub use grid::Grid;
pub(crate) use movement::{Frame, movement};
pub use nearest::nearest;
pub use page::panels;
pub(crate) use path::in_the_plane;
pub use path::path;
pub use plot::Plot;
pub use progress::{Snapshot, progress};
pub use report::Report;
pub(crate) use rows::{POINTS, label_of, rows_in_turn, rows_kept, sample_size, spread};
pub use samples::{chosen_classes, picture};
pub use save::{png_bytes, save_png};
pub use schedule::{error_by_level, schedule};
pub use stack::stacked;
pub(crate) use work::Work;
pub use work::error_by_work;
