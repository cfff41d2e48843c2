//! An image in the terminal.

use crate::dataset::SIZE;

/// From black to white, where there is no colour.
const RAMP: &[u8] = b" .:-=+*#%@";

/// Lines of text: two rows of pixels in each, as half blocks in the 24 greys of 256-colour terminals, or as characters
/// that cover more of their cell the brighter the pixels.
pub fn lines(pixels: &[u8], colour: bool) -> Vec<String> {
    let rows: Vec<&[u8]> = pixels.chunks(SIZE).collect();
    rows.chunks(2)
        .map(|pair| {
            let (upper, lower) = (pair[0], pair.get(1).unwrap_or(&pair[0]));
            let cells = upper.iter().zip(lower.iter());
            if colour {
                let grey = |pixel: u8| 232 + u32::from(pixel) * 23 / 255;
                let cell = |(&u, &l): (&u8, &u8)| format!("\x1b[38;5;{};48;5;{}m\u{2580}", grey(u), grey(l));
                cells.map(cell).chain(["\x1b[0m".to_owned()]).collect()
            } else {
                let level = |(&u, &l): (&u8, &u8)| (usize::from(u) + usize::from(l)) * (RAMP.len() - 1) / 510;
                cells.map(|pair| char::from(RAMP[level(pair)])).collect()
            }
        })
        .collect()
}

/// The picture's lines with text to the right of them, centred on its height.
pub fn beside(picture: Vec<String>, text: &[String]) -> String {
    let above = picture.len().saturating_sub(text.len()) / 2;
    let line = |(i, picture): (usize, String)| match i.checked_sub(above).and_then(|i| text.get(i)) {
        Some(text) => format!("{picture}  {text}\n"),
        None => picture + "\n",
    };
    picture.into_iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_cover_by_brightness() {
        let mut pixels = vec![0; SIZE * SIZE];
        pixels[0] = 255;
        pixels[SIZE] = 255;
        pixels[1] = 255;
        let lines = lines(&pixels, false);
        assert_eq!(lines.len(), 14);
        assert!(lines.iter().all(|l| l.len() == SIZE));
        assert_eq!(&lines[0][..3], "@= ");
    }

    #[test]
    fn half_blocks_have_two_greys_and_end_plain() {
        let mut pixels = vec![0; SIZE * SIZE];
        pixels[..SIZE].fill(255);
        let lines = lines(&pixels, true);
        assert!(lines[0].starts_with("\x1b[38;5;255;48;5;232m\u{2580}"));
        assert!(lines.iter().all(|l| l.ends_with("\x1b[0m") && l.matches('\u{2580}').count() == SIZE));
    }

    #[test]
    fn text_stands_beside_the_middle() {
        let picture = ["a", "b", "c", "d"].map(String::from).to_vec();
        assert_eq!(beside(picture, &["x".into(), "y".into()]), "a\nb  x\nc  y\nd\n");
    }
}
