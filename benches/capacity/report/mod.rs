//! What the figures say: a text for people, and files to keep.
//!
//! [`Results`] collects the figures; [`text`] prints them; [`files`] writes JSON, `.hgrm` and SVG.

mod axis;
mod figures;
pub(crate) mod files;
mod hgrm;
mod results;
mod sizing;
mod statistics;
mod svg;
mod table;
pub(crate) mod text;

pub(crate) use figures::Figures;
pub(crate) use results::{LeftOut, Memory, Results};
