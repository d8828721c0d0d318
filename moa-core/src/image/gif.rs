//! What `image` leaves open about the first frame of a GIF.

/// The colour of transparent pixels and of those the first frame does not
/// cover: like Pillow, of the transparent palette entry, or else of the first.
/// `None` if the headers do not lead to a frame.
pub(super) fn uncovered(bytes: &[u8]) -> Option<[u8; 3]> {
    let (screen, mut rest) = bytes.split_at_checked(13)?;
    let mut palette = take_palette(screen[10], &mut rest)?;
    let mut entry = 0;
    loop {
        match take(&mut rest, 1)? {
            // Extension: a label and blocks up to an empty one.
            [0x21] => {
                let control = take(&mut rest, 1)? == [0xF9];
                loop {
                    let size = usize::from(*take(&mut rest, 1)?.first()?);
                    let block = take(&mut rest, size)?;
                    if let (true, &[flags, _, _, index]) = (control, block)
                        && flags & 1 == 1
                    {
                        entry = usize::from(index);
                    }
                    if size == 0 {
                        break;
                    }
                }
            }
            [0x2C] => {
                let flags = *take(&mut rest, 9)?.last()?;
                let local = take_palette(flags, &mut rest)?;
                if !local.is_empty() {
                    palette = local;
                }
                return palette.as_chunks::<3>().0.get(entry).copied();
            }
            _ => return None,
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

/// The palette that `flags` announce; empty without one.
fn take_palette<'a>(flags: u8, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let colours = if flags & 0x80 == 0 { 0 } else { 2 << (flags & 7) };
    take(rest, 3 * colours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_entry_of_the_right_palette() {
        let mut gif = b"GIF89a\x04\0\x04\0\x80\0\0".to_vec();
        gif.extend([1, 2, 3, 4, 5, 6]);
        let frame = |local: &[u8]| [&[0x2C, 1, 0, 1, 0, 1, 0, 1, 0], local].concat();
        let plain = [&gif[..], &frame(&[0])].concat();
        assert_eq!(uncovered(&plain), Some([1, 2, 3]));
        let control = [0x21, 0xF9, 4, 1, 0, 0, 1, 0];
        let seen = [&gif[..], &control, &frame(&[0])].concat();
        assert_eq!(uncovered(&seen), Some([4, 5, 6]));
        let local = [&gif[..], &control, &frame(&[0x80, 7, 7, 7, 8, 8, 8])].concat();
        assert_eq!(uncovered(&local), Some([8, 8, 8]));
        for end in 0..local.len() {
            assert_eq!(uncovered(&local[..end]), None);
        }
    }
}
