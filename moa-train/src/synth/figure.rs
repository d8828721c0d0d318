//! A drawn thing: pieces painted one over the other, each made of primitives.

use super::pen::Pen;
use super::plane::{Affine, Bounds};
use super::shape::Prim;

/// Which of a palette's colours a piece takes; the colours are drawn per picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    /// The largest pieces.
    Main,
    /// Pieces set off from the largest ones.
    Second,
    /// Small coloured pieces.
    Accent,
    /// Holes, tyres, eyes.
    Dark,
    /// Windows, faces of clocks.
    Light,
}

/// How a part joins the parts of its piece before it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Join {
    /// Union, rounded off over a distance (0: sharp).
    Add(f32),
    /// Taken away from what is there.
    Cut,
    /// Only what lies in both stays.
    Keep,
}

/// A primitive at its place in the figure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// What is drawn.
    pub prim: Prim,
    /// From the primitive's frame to the figure's.
    pub place: Affine,
    /// How it joins the parts before it.
    pub join: Join,
    /// Half the width of its rim where only the rim is meant, else 0.
    pub rim: f32,
}

impl Part {
    /// The box around it in another frame, reached by `to`.
    pub fn bounds(&self, to: &Affine) -> Bounds {
        self.prim.bounds().grow(self.rim).map(&to.after(&self.place))
    }
}

/// Parts that form one surface without inner edges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Its first part.
    pub start: usize,
    /// One past its last part.
    pub end: usize,
    /// Its colour.
    pub tint: Tint,
    /// Whether it is painted on the surface below: no relief, fainter lines.
    pub marking: bool,
}

/// Pieces in the order of painting.
#[derive(Debug, Default)]
pub(super) struct Figure {
    /// The parts of all pieces.
    pub parts: Vec<Part>,
    /// Later pieces cover earlier ones.
    pub pieces: Vec<Piece>,
}

impl Figure {
    /// Starts the next piece.
    pub fn piece(&mut self, tint: Tint) -> Pen<'_> {
        self.start(tint, false)
    }

    /// Starts a piece that is a pattern on the pieces below it.
    pub fn marking(&mut self, tint: Tint) -> Pen<'_> {
        self.start(tint, true)
    }

    fn start(&mut self, tint: Tint, marking: bool) -> Pen<'_> {
        let start = self.parts.len();
        self.pieces.push(Piece { start, end: start, tint, marking });
        Pen::new(self)
    }

    /// The box around the figure in another frame, reached by `to`.
    pub fn bounds(&self, to: &Affine) -> Bounds {
        let mut whole = Bounds::EMPTY;
        for piece in &self.pieces {
            let (mut added, mut kept) = (Bounds::EMPTY, Bounds::ALL);
            for part in &self.parts[piece.start..piece.end] {
                match part.join {
                    Join::Add(_) => added = added.join(part.bounds(to)),
                    Join::Keep => kept = kept.meet(part.bounds(to)),
                    Join::Cut => {}
                }
            }
            whole = whole.join(added.meet(kept));
        }
        whole
    }
}
