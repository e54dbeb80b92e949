//! Parameter expansion (Bash manual 3.5.3).

use brush_parser::word::{
    self, Parameter, ParameterExpr, ParameterTestType, SpecialParameter, SubstringMatchKind,
};

use super::environment::{Flow, Shell};
use super::expand::Expansion;
use super::pattern::Pattern;

impl Shell<'_> {
    pub fn parameter(&mut self, expression: &ParameterExpr, quoted: bool) -> Flow<Expansion> {
        if is_indirect(expression) {
            return Err(self.not_interpreted("indirect expansion ${!name}"));
        }
        match expression {
            ParameterExpr::Parameter { parameter, .. } => match self.value(parameter)? {
                Some(value) => Ok(value),
                None => self.unset(parameter),
            },
            ParameterExpr::UseDefaultValues { parameter, test_type, default_value, .. } => {
                match self.tested(parameter, test_type)? {
                    Some(value) => Ok(value),
                    None => Ok(Expansion::One(self.alternative(default_value.as_deref(), quoted)?)),
                }
            }
            ParameterExpr::AssignDefaultValues { parameter, test_type, default_value, .. } => {
                if let Some(value) = self.tested(parameter, test_type)? {
                    return Ok(value);
                }
                let Parameter::Named(name) = parameter else {
                    return Err(self.not_interpreted(format!("assignment to {parameter}")));
                };
                let value = self.alternative(default_value.as_deref(), quoted)?;
                self.set_scalar(name, value.clone())?;
                Ok(Expansion::One(value))
            }
            ParameterExpr::IndicateErrorIfNullOrUnset { parameter, test_type, error_message, .. } => {
                if let Some(value) = self.tested(parameter, test_type)? {
                    return Ok(value);
                }
                let message = self.alternative(error_message.as_deref(), quoted)?;
                let message = if message.is_empty() { "parameter null or not set" } else { &message };
                Err(self.expansion_failure(&format!("{}: {message}", plain_name(parameter))))
            }
            ParameterExpr::UseAlternativeValue { parameter, test_type, alternative_value, .. } => {
                match self.tested(parameter, test_type)? {
                    Some(_) => Ok(Expansion::One(self.alternative(alternative_value.as_deref(), quoted)?)),
                    None => Ok(Expansion::One(String::new())),
                }
            }
            ParameterExpr::ParameterLength { parameter, .. } => self.length(parameter),
            other => self.trimmed(other),
        }
    }

    /// `#`, `##`, `%`, `%%`, `/` and `:offset:length`, applied to each value.
    fn trimmed(&mut self, expression: &ParameterExpr) -> Flow<Expansion> {
        let (parameter, pattern) = match expression {
            ParameterExpr::RemoveSmallestPrefixPattern { parameter, pattern, .. }
            | ParameterExpr::RemoveLargestPrefixPattern { parameter, pattern, .. }
            | ParameterExpr::RemoveSmallestSuffixPattern { parameter, pattern, .. }
            | ParameterExpr::RemoveLargestSuffixPattern { parameter, pattern, .. } => {
                (parameter, pattern.clone().unwrap_or_default())
            }
            ParameterExpr::ReplaceSubstring { parameter, pattern, .. } => (parameter, pattern.clone()),
            ParameterExpr::Substring { parameter, offset, length, .. } => {
                let offset = self.arithmetic(&offset.value)?;
                let length = length.as_ref().map(|length| self.arithmetic(&length.value)).transpose()?;
                return self.substring(parameter, offset, length);
            }
            _ => return Err(self.not_interpreted("this form of ${...}")),
        };
        let value = match self.value(parameter)? {
            Some(value) => value,
            None => self.unset(parameter)?,
        };
        let pattern = self.word_pattern(&pattern)?;
        let replaced = match expression {
            ParameterExpr::ReplaceSubstring { replacement, match_kind, .. } => {
                let replacement = self.word_text(replacement.as_deref().unwrap_or_default())?;
                Some((replacement, match_kind))
            }
            _ => None,
        };
        let apply = |text: &str| match expression {
            ParameterExpr::RemoveSmallestPrefixPattern { .. } => pattern.without_prefix(text, false),
            ParameterExpr::RemoveLargestPrefixPattern { .. } => pattern.without_prefix(text, true),
            ParameterExpr::RemoveSmallestSuffixPattern { .. } => pattern.without_suffix(text, false),
            ParameterExpr::RemoveLargestSuffixPattern { .. } => pattern.without_suffix(text, true),
            _ => replaced
                .as_ref()
                .map_or_else(|| text.to_owned(), |(by, kind)| replace(&pattern, text, by, kind)),
        };
        Ok(match value {
            Expansion::One(text) => Expansion::One(apply(&text)),
            Expansion::Many(texts) => Expansion::Many(texts.iter().map(|text| apply(text)).collect()),
        })
    }

    /// The value, or `None` if the parameter is not set.
    fn value(&mut self, parameter: &Parameter) -> Flow<Option<Expansion>> {
        let one = |text: Option<String>| text.map(Expansion::One);
        Ok(match parameter {
            Parameter::Positional(number) => {
                let index = (*number as usize).checked_sub(1);
                one(index.and_then(|index| self.state.positional.get(index)).cloned())
            }
            Parameter::Named(name) => one(self.scalar(name).map(str::to_owned)),
            Parameter::NamedWithIndex { name, index } => {
                let elements = self.elements(name);
                let index = self.arithmetic(index)?;
                let end = elements.keys().next_back().map_or(0, |last| last + 1);
                let index = if index < 0 { end.saturating_add(index) } else { index };
                one(elements.get(&index).cloned())
            }
            Parameter::NamedWithAllIndices { name, concatenate } => {
                let values: Vec<String> = self.elements(name).into_values().collect();
                Some(joined_if(values, *concatenate))
            }
            Parameter::Special(special) => self.special(special),
        })
    }

    fn special(&self, special: &SpecialParameter) -> Option<Expansion> {
        let state = &self.state;
        let text = match special {
            SpecialParameter::AllPositionalParameters { concatenate } => {
                return Some(joined_if(state.positional.clone(), *concatenate));
            }
            SpecialParameter::PositionalParameterCount => state.positional.len().to_string(),
            SpecialParameter::LastExitStatus => state.status.to_string(),
            SpecialParameter::CurrentOptionFlags => {
                let flags = [(state.errexit, 'e'), (state.nounset, 'u'), (state.xtrace, 'x')];
                flags.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect()
            }
            // A container's command is process 1.
            SpecialParameter::ProcessId => "1".to_owned(),
            SpecialParameter::LastBackgroundProcessId => match state.jobs.len() {
                0 => return None,
                jobs => (jobs + 1).to_string(),
            },
            SpecialParameter::ShellName => state.name.clone(),
        };
        Some(Expansion::One(text))
    }

    fn unset(&mut self, parameter: &Parameter) -> Flow<Expansion> {
        if self.state.nounset && !matches!(parameter, Parameter::Special(_)) {
            return Err(self.expansion_failure(&format!("{}: unbound variable", plain_name(parameter))));
        }
        Ok(Expansion::One(String::new()))
    }

    fn tested(&mut self, parameter: &Parameter, test: &ParameterTestType) -> Flow<Option<Expansion>> {
        let value = self.value(parameter)?;
        Ok(value.filter(|value| match (value, test) {
            (Expansion::One(text), ParameterTestType::UnsetOrNull) => !text.is_empty(),
            (Expansion::Many(texts), _) => !texts.is_empty(),
            (Expansion::One(_), ParameterTestType::Unset) => true,
        }))
    }

    /// The word after `:-` and the like.
    fn alternative(&mut self, word: Option<&str>, quoted: bool) -> Flow<String> {
        match word {
            None => Ok(String::new()),
            Some(word) if quoted && !word.contains('"') => self.unquoted_text(word),
            Some(word) => self.word_text(word),
        }
    }

    fn length(&mut self, parameter: &Parameter) -> Flow<Expansion> {
        if let Parameter::NamedWithAllIndices { name, .. } = parameter {
            return Ok(Expansion::One(self.elements(name).len().to_string()));
        }
        let length = match self.value(parameter)? {
            Some(Expansion::One(text)) => text.chars().count(),
            Some(Expansion::Many(texts)) => texts.len(),
            None => {
                self.unset(parameter)?;
                0
            }
        };
        Ok(Expansion::One(length.to_string()))
    }

    fn substring(&mut self, parameter: &Parameter, offset: i64, length: Option<i64>) -> Flow<Expansion> {
        let text = match self.value(parameter)? {
            Some(Expansion::One(text)) => text,
            Some(Expansion::Many(_)) => return Err(self.not_interpreted("a slice of an array")),
            None => return self.unset(parameter),
        };
        let characters: Vec<char> = text.chars().collect();
        let count = i64::try_from(characters.len()).unwrap_or(i64::MAX);
        let start = if offset < 0 { count.saturating_add(offset) } else { offset };
        if start < 0 || start > count {
            return Ok(Expansion::One(String::new()));
        }
        let end = match length {
            None => count,
            Some(length) if length < 0 => count.saturating_add(length),
            Some(length) => start.saturating_add(length).min(count),
        };
        if end < start {
            return Err(self.expansion_failure(&format!("{end}: substring expression < 0")));
        }
        let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let slice = bounds.and_then(|(start, end)| characters.get(start..end)).unwrap_or_default();
        Ok(Expansion::One(slice.iter().collect()))
    }
}

fn joined_if(values: Vec<String>, concatenate: bool) -> Expansion {
    if concatenate { Expansion::One(values.join(" ")) } else { Expansion::Many(values) }
}

fn replace(pattern: &Pattern, text: &str, by: &str, kind: &SubstringMatchKind) -> String {
    match kind {
        SubstringMatchKind::Prefix => match pattern.prefix(text, true) {
            Some(end) => format!("{by}{}", &text[end..]),
            None => text.to_owned(),
        },
        SubstringMatchKind::Suffix => match pattern.suffix(text, true) {
            Some(start) => format!("{}{by}", &text[..start]),
            None => text.to_owned(),
        },
        SubstringMatchKind::FirstOccurrence => pattern.replace(text, by, 1),
        SubstringMatchKind::Anywhere => pattern.replace(text, by, usize::MAX),
    }
}

fn plain_name(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Positional(number) => number.to_string(),
        Parameter::Named(name) | Parameter::NamedWithAllIndices { name, .. } => name.clone(),
        Parameter::NamedWithIndex { name, index } => format!("{name}[{index}]"),
        Parameter::Special(special) => special.to_string(),
    }
}

fn is_indirect(expression: &ParameterExpr) -> bool {
    use word::ParameterExpr as E;
    match expression {
        E::Parameter { indirect, .. }
        | E::UseDefaultValues { indirect, .. }
        | E::AssignDefaultValues { indirect, .. }
        | E::IndicateErrorIfNullOrUnset { indirect, .. }
        | E::UseAlternativeValue { indirect, .. }
        | E::ParameterLength { indirect, .. }
        | E::RemoveSmallestSuffixPattern { indirect, .. }
        | E::RemoveLargestSuffixPattern { indirect, .. }
        | E::RemoveSmallestPrefixPattern { indirect, .. }
        | E::RemoveLargestPrefixPattern { indirect, .. }
        | E::Substring { indirect, .. }
        | E::ReplaceSubstring { indirect, .. } => *indirect,
        _ => false,
    }
}
