//! Where a routed mixture sends the patches of an image: the paper's routing maps.
//!
//! | module | what |
//! |---|---|
//! | [`map`] | experts of every patch, by layer |
//! | [`picture`] | maps over the image, as a PNG |
//! | [`palette`] | a colour for each expert |
//! | `canvas` | rectangles and letters on pixels |

mod canvas;
pub mod map;
pub mod palette;
pub mod picture;
