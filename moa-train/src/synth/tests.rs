//! What every picture must satisfy.

use super::*;
use moa_kernels::rng::{Key, Purpose};

const FAMILIES: [Family; 2] = [Family::Demo, Family::Pretrain];

fn picture(family: Family, style: usize, class: usize, size: u32, index: u64) -> Rgb {
    draw(family, style, class, size, &mut Key::new(11, Purpose::Drawing, 0).draws(index))
}

/// FNV-1a, 64 bits.
fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[test]
fn pictures_depend_on_their_key_only() {
    for family in FAMILIES {
        for style in 0..styles(family).len() {
            let one = picture(family, style, 3, 64, 5);
            assert_eq!((one.width, one.height, one.data.len()), (64, 64, 64 * 64 * 3));
            assert_eq!(one, picture(family, style, 3, 64, 5));
            assert_ne!(one, picture(family, style, 3, 64, 6));
        }
    }
}

#[test]
fn every_class_in_every_style_shows_something() {
    // The demo set thoroughly, the many pretraining pairs a few times each.
    for (family, seeds) in [(Family::Demo, 200), (Family::Pretrain, 20)] {
        for style in 0..styles(family).len() {
            for class in 0..classes(family).len() {
                for index in 0..seeds {
                    let data = picture(family, style, class, 24, index).data;
                    let low = data.iter().min().copied().unwrap_or(0);
                    let high = data.iter().max().copied().unwrap_or(0);
                    let name = (styles(family)[style], classes(family)[class], index);
                    assert!(high - low > 24, "{name:?}: values {low}..{high}");
                }
            }
        }
    }
}

#[test]
fn any_size_can_be_drawn() {
    for family in FAMILIES {
        for style in 0..styles(family).len() {
            for size in [0, 1, 2, 3, 17, 96] {
                let drawn = picture(family, style, style, size, 1);
                assert_eq!(drawn.data.len(), (size * size * 3) as usize);
            }
        }
    }
}

#[test]
fn indices_wrap_around() {
    assert_eq!(picture(Family::Demo, 5, 8, 16, 0), picture(Family::Demo, 1, 1, 16, 0));
}

#[test]
fn names_are_distinct_and_the_families_share_none() {
    for list in [classes, styles] {
        let mut all = [list(Family::Demo), list(Family::Pretrain)].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        // Folders are read back in alphabetical order.
        assert!(list(Family::Demo).is_sorted());
    }
}

/// The same bytes on every platform and at every optimisation level.
#[test]
fn bytes_are_pinned() {
    let of = |family: Family, style: usize| {
        digest((0..6).flat_map(|n| picture(family, style, 3 + 9 * n, 64, n as u64).data))
    };
    for (family, pinned) in [(Family::Demo, &DEMO[..]), (Family::Pretrain, &PRETRAIN[..])] {
        let found: Vec<_> = (0..styles(family).len()).map(|n| of(family, n)).collect();
        assert_eq!(found, pinned, "{family:?}: {found:#018x?}");
    }
}

const DEMO: [u64; 4] =
    [0x32b9_3ff5_cbb0_3fef, 0x8650_21ca_8d43_dcb4, 0x67e3_90f5_bdca_f02b, 0x98b1_227d_4e25_d678];

const PRETRAIN: [u64; 12] = [
    0xb25b_1b35_11d6_27da,
    0xde45_1911_d79c_63cb,
    0x59df_fefe_7eb9_be37,
    0xbe2d_e7db_48ef_c3e9,
    0xb335_b7ad_db92_0589,
    0x16fa_6e2a_b441_8d66,
    0x6657_5789_a45c_f581,
    0x6042_a01c_0e17_0585,
    0x319b_94ea_cb22_8421,
    0xd5e9_4d29_eb25_d29e,
    0xd1e2_8a11_72f2_04c2,
    0x76c9_df87_d0fb_1643,
];
