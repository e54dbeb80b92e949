//! Colours: one set for plots and pictures, which the page's style sheet turns into those of a dark page.
//!
//! Plots are drawn in the light colours, so that they are right by themselves; the style sheet finds each by its value
//! and gives it the colour of the reader's scheme. Neighbours differ in lightness too, for readers who see no hues.

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// Categories, in the order in which they are given out.
const CATEGORIES: [Colour; 8] = [
    Colour { light: [0x2B, 0x6C, 0xD4], dark: [0x7A, 0xAE, 0xFF] },
    Colour { light: [0xD1, 0x5B, 0x16], dark: [0xFF, 0xA3, 0x66] },
    Colour { light: [0x1E, 0x8A, 0x5F], dark: [0x5F, 0xD3, 0xA4] },
    Colour { light: [0x7B, 0x4F, 0xC9], dark: [0xBE, 0x9D, 0xFF] },
    Colour { light: [0xB8, 0x2F, 0x7A], dark: [0xFF, 0x8C, 0xC6] },
    Colour { light: [0x86, 0x6A, 0x12], dark: [0xE3, 0xC1, 0x5C] },
    Colour { light: [0x14, 0x7F, 0x9C], dark: [0x62, 0xCC, 0xE8] },
    Colour { light: [0x6A, 0x72, 0x80], dark: [0xA6, 0xB0, 0xC0] },
];

/// What is not a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Letters.
    Ink,
    /// Lesser letters, and axes.
    Faint,
    /// Lines of a grid.
    Grid,
    /// What failed.
    Bad,
}

#[derive(Clone, Copy)]
struct Colour {
    light: [u8; 3],
    dark: [u8; 3],
}

impl Tone {
    const ALL: [(Tone, &'static str, Colour); 4] = [
        (Tone::Ink, "ink", Colour { light: [0x1B, 0x23, 0x30], dark: [0xE8, 0xEC, 0xF2] }),
        (Tone::Faint, "faint", Colour { light: [0x5B, 0x66, 0x76], dark: [0xA4, 0xAF, 0xBF] }),
        (Tone::Grid, "grid", Colour { light: [0xDD, 0xE2, 0xEA], dark: [0x33, 0x3C, 0x4A] }),
        (Tone::Bad, "bad", Colour { light: [0xC4, 0x2B, 0x2B], dark: [0xFF, 0x8A, 0x80] }),
    ];

    /// For plots.
    pub fn rgb(self) -> RGBColor {
        let (.., colour) = Tone::ALL[self as usize];
        rgb(colour.light)
    }
}

/// The colour of the so-manieth category, for plots.
pub(super) fn category(index: usize) -> RGBColor {
    rgb(CATEGORIES[index % CATEGORIES.len()].light)
}

/// The class that gives an element's `--c` the colour of the so-manieth category.
pub(super) fn category_class(index: usize) -> String {
    format!("c{}", index % CATEGORIES.len())
}

/// The rules of both schemes: variables, classes, and what turns the colours of plots into variables.
pub(super) fn style() -> String {
    let named = |pick: fn(&Colour) -> [u8; 3]| -> String {
        let mut rules = String::new();
        for (_, name, colour) in &Tone::ALL {
            let _ = write!(rules, "--{name}:{};", hex(pick(colour)));
        }
        for (index, colour) in CATEGORIES.iter().enumerate() {
            let _ = write!(rules, "--cat{index}:{};", hex(pick(colour)));
        }
        rules
    };
    let mut style = format!(
        ":root{{{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n",
        named(|colour| colour.light),
        named(|colour| colour.dark)
    );
    let tones = Tone::ALL.iter().map(|(_, name, colour)| ((*name).to_owned(), colour));
    let categories = CATEGORIES.iter().enumerate().map(|(index, colour)| (format!("cat{index}"), colour));
    for (name, colour) in tones.chain(categories) {
        let value = hex(colour.light);
        for attribute in ["fill", "stroke"] {
            let _ = writeln!(style, ".plot [{attribute}=\"{value}\"]{{{attribute}:var(--{name})}}");
        }
    }
    for index in 0..CATEGORIES.len() {
        let _ = writeln!(style, ".c{index}{{--c:var(--cat{index})}}");
    }
    style
}

fn rgb([red, green, blue]: [u8; 3]) -> RGBColor {
    RGBColor(red, green, blue)
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}
