use super::*;
use crate::pool::of as pool;

fn value(i: usize) -> f32 {
    (i.wrapping_mul(2_654_435_761) % 1000) as f32 / 500.0 - 1.0
}

fn values(from: usize, len: usize) -> Vec<f32> {
    (from..from + len).map(value).collect()
}

/// Shapes of every kernel of the crate, and edges of tiles and stages.
const SHAPES: [(usize, usize, usize); 22] = [
    (3, 33, 40),
    (1, 40, 1100),
    (33, 150, 70),
    (197, 800, 65),
    (1, 9, 300),
    (300, 1, 40),
    (5, 700, 3),
    (8, 16, 0),
    (14, 32, 1),
    (15, 33, 17),
    (29, 64, 1025),
    (197, 576, 192),
    (1182, 192, 768),
    (64, 64, 2000),
    (7, 4096, 64),
    (4096, 27, 64),
    (33, 47, 5001),
    (15, 80, 700),
    (420, 800, 1500), // several threads copy the same panels
    (30, 48, 1024),   // rows that share a set of the cache, in one stage
    (300, 320, 2048), // and in two
    (300, 320, 4300), // two long stages
];

/// The promise of [`Threads::All`].
#[test]
fn same_bits_for_any_number_of_threads() {
    for (m, n, k) in SHAPES {
        let (a, b) = (values(0, m * k), values(7, k * n));
        let run = |threads| {
            let terms = [(View::new(&a, m, k), View::new(&b, n, k).t())];
            pool(threads).install(|| product(Into::Set, &terms, Threads::All))
        };
        let one = run(1);
        for threads in [2, 3, 7, 16] {
            assert_eq!(one, run(threads), "{m}x{n}x{k} on {threads} threads");
        }
    }
}

/// On a machine with both instruction sets, the promise of `Isa`.
#[cfg(target_arch = "x86_64")]
#[test]
fn same_bits_with_any_instruction_set() {
    let here: Vec<_> = isa::Isa::ALL.into_iter().filter(|isa| isa.is_here()).collect();
    for (m, n, k) in SHAPES {
        let (a, b) = (values(0, m * k), values(7, k * n));
        let columns = [View::new(&b, k, n), View::new(&b, n, k).t()];
        let rows = [View::new(&a, m, k), View::new(&a, k, m).t()];
        for (a_, b_) in columns.iter().flat_map(|b| rows.iter().map(move |a| (*a, *b))) {
            let terms = [(a_.before(&b[..]), b_)];
            let run = |isa| {
                let mut dst = vec![0.0; m * n];
                let to = Scattered::new(&mut dst);
                // SAFETY: the machine has it; nothing else uses `dst`.
                unsafe { packed::run_with(isa, &to, n, Into::Set, &terms, Threads::All) };
                dst
            };
            let plain = product(Into::Set, &[(a_, b_)], Threads::One);
            let worst = |got: &[f32]| {
                got.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            let all: Vec<_> = here.iter().map(|&isa| run(isa)).collect();
            assert!(all.iter().all(|got| worst(got) < 1e-6 * (k as f32 + 10.0)), "{m}x{n}x{k}");
            assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{m}x{n}x{k}");
        }
    }
}

/// A right operand in panels is only another way to read it.
#[cfg(target_arch = "x86_64")]
#[test]
fn same_bits_from_panels() {
    for (m, n, k) in SHAPES {
        let n = n.next_multiple_of(PANEL);
        let (a, b, bias) = (values(0, m * k), values(7, k * n), values(9, n));
        let (a, rows) = (View::new(&a, m, k), View::new(&b, n, k));
        let Some(panels) = transposed_in_panels(&rows) else { return };
        let (c, d) = (values(3, m * 5), values(4, n * 5));
        let more = (View::new(&c, m, 5), View::new(&d, n, 5).t());
        for isa in isa::Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            for (start, terms) in [(1.0, 1), (2.0, 2)] {
                let run = |b, threads| {
                    let mut dst = vec![start; m * n];
                    let (to, into) = (Scattered::new(&mut dst), Into::Rows(&bias));
                    let terms = &[(a, b), more][..terms];
                    // SAFETY: the machine has it; nothing else uses `dst`.
                    pool(3).install(|| unsafe {
                        packed::run_with(isa, &to, n, into, terms, threads);
                    });
                    dst
                };
                for threads in [Threads::One, Threads::All] {
                    let panels = run(View::in_panels(&panels, k, n), threads);
                    assert!(panels == run(rows.t(), threads), "{m}x{n}x{k} {isa:?} {terms}");
                }
            }
        }
    }
}

/// A matrix with gaps, as it is or transposed.
fn matrix(data: &[f32], rows: usize, cols: usize, gap: usize, t: bool) -> View<'_, f32> {
    match t {
        false => View::strided(data, rows, cols, cols + gap),
        true => View::strided(data, cols, rows, rows + gap).t(),
    }
}

fn element(v: &View<'_, f32>, row: usize, col: usize) -> f64 {
    f64::from(v.data[row * v.row_stride + col * v.col_stride])
}

/// Every start, both operands transposed or not, gaps, and a second term.
#[test]
fn products_are_those_of_plain_loops() {
    for (m, n, k) in SHAPES {
        // 1024 - k % 1024: rows a multiple of 4096 bytes apart.
        for (ta, tb, gap) in [(false, true, 0), (true, false, 3), (false, false, 1024 - k % 1024)] {
            let room = |rows: usize, cols: usize| (rows.max(cols) + 1) * (rows.min(cols) + gap + 1);
            let size = room(m, k).max(room(k, m)).max(room(k, n)).max(room(n, k)).min(30_000_000);
            let (a, b, c, d) =
                (values(1, size), values(2, size), values(3, m * 5), values(4, n * 5));
            let (a, b) = (matrix(&a, m, k, gap, ta), matrix(&b, k, n, gap, tb));
            let (c, d) = (View::new(&c, m, 5), View::new(&d, n, 5).t());
            let bias = values(9, n);
            let over = values(10, m * n);
            let (plain, both) = (Into::Over(&over, None), Into::Over(&over, Some(&bias)));
            for into in [Into::Set, Into::Add, Into::Rows(&bias), plain, both] {
                let stride = n + 3;
                let before = values(5, m * stride);
                let mut dst = before.clone();
                gemm(&mut dst, stride, into, &[(a, b), (c, d)], Threads::All);
                for (i, (row, before)) in
                    dst.chunks(stride).zip(before.chunks(stride)).enumerate().step_by(1 + m / 20)
                {
                    for j in (0..n).step_by(1 + n / 20) {
                        let start = match into {
                            Into::Set => 0.0,
                            Into::Add => f64::from(before[j]),
                            Into::Rows(bias) => f64::from(bias[j]),
                            Into::Over(rows, bias) => {
                                f64::from(rows[i * n + j]) + bias.map_or(0.0, |b| f64::from(b[j]))
                            }
                        };
                        let sum = start
                            + (0..k).map(|l| element(&a, i, l) * element(&b, l, j)).sum::<f64>()
                            + (0..5).map(|l| element(&c, i, l) * element(&d, l, j)).sum::<f64>();
                        let worst = 1e-6 * (k as f64 + 10.0);
                        assert!((f64::from(row[j]) - sum).abs() < worst, "{m}x{n}x{k} {i} {j}");
                    }
                    assert_eq!(row[n..], before[n..], "wrote beyond its columns");
                }
            }
        }
    }
}
