//! A part of all packets, or of all operations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From 0 to 1, or in percent: `0.05` or `5%`; counted in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "f64")]
pub struct Share(u32);

/// A share as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a share from 0 to 1, such as `0.05` or `5%`")]
enum Written {
    Number(f64),
    Text(String),
}

const MILLION: f64 = 1_000_000.0;

impl Share {
    /// All.
    pub const ALL: Share = Share(1_000_000);

    /// A share of so many millionths.
    ///
    /// # Errors
    /// More than a million.
    pub fn of_millionths(millionths: u32) -> Result<Share, String> {
        if millionths > Share::ALL.0 {
            return Err(format!("{millionths} millionths are more than all"));
        }
        Ok(Share(millionths))
    }

    /// From 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / MILLION
    }
}

impl TryFrom<Written> for Share {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (fraction, said) = match &written {
            Written::Number(number) => (Some(*number), number.to_string()),
            Written::Text(text) => {
                let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                (percent.map(|percent| percent / 100.0), text.clone())
            }
        };
        match fraction {
            Some(fraction) if (0.0..=1.0).contains(&fraction) => {
                Ok(Share((fraction * MILLION).round() as u32))
            }
            _ => Err(format!(
                "`{said}` is no share; expected 0 to 1, such as `0.05`, or a percentage, such as `5%`"
            )),
        }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        share.fraction()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_fractions_or_percentages() {
        for (text, fraction) in [("0.05", 0.05), ("5%", 0.05), ("0", 0.0), ("1", 1.0), ("12.5 %", 0.125)] {
            let share: Share = serde_saphyr::from_str(text).expect(text);
            assert!((share.fraction() - fraction).abs() < 1e-9, "{text}");
        }
        for text in ["1.5", "-0.1", "101%", "half", "[1]"] {
            let error = serde_saphyr::from_str::<Share>(text).expect_err(text).to_string();
            assert!(error.contains("share"), "{text}: {error}");
        }
    }
}
