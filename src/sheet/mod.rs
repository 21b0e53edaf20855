//! Contact sheets: arrays of pixels become small pictures, and pictures with a few facts one self-contained page, so that a person can
//! see that orientation and order are right. Pure: no file is read or written here, and nothing identifying is asked for.
//!
//! ```text
//! wanted (which frames) -> reduce (true aspect) -> Thumbnail (window, JPEG strip) -> Card -> ContactSheet -> HTML
//! ```
//!
//! Geometry is LPS in mm; `row` is the unit vector of increasing column index, `column` of increasing row index.

mod card;
mod choose;
mod jpeg;
mod letters;
mod page;
mod reduce;
mod thumbnail;
mod window;

pub use card::{Card, Pill, Shown};
pub use choose::{Wanted, spread, wanted};
pub use letters::{Edges, towards};
pub use page::{ContactSheet, html, stored_legend};
pub use reduce::{Frame, Size, fit, reduce};
pub use thumbnail::{SLICE_PIXELS, Sketch, THUMBNAIL_PIXELS, Thumbnail};
