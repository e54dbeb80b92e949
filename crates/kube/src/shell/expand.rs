//! Expansion of words: quotes, substitutions, field splitting, pathname expansion (Bash manual 3.5).

use brush_parser::word::{self, WordPiece, WordPieceWithSource};

use super::environment::{Flow, Shell, Stop, absolute};
use super::error::ShellErrorKind;
use super::pattern::Pattern;
use super::script::parser_options;

/// A field under construction: characters, and whether each was quoted.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    characters: Vec<(char, bool)>,
    /// A field with quotes exists even when it is empty.
    quoted: bool,
}

/// How the results of expansions are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Splitting {
    /// Arguments: unquoted results are split at white space.
    Fields,
    /// Assignments, patterns, redirections: one field.
    None,
}

/// The value of a parameter expansion.
#[derive(Debug)]
pub(super) enum Expansion {
    One(String),
    /// `"$@"` and `"${a[@]}"`: a field each.
    Many(Vec<String>),
}

struct Expander {
    fields: Vec<Field>,
    current: Option<Field>,
    splitting: Splitting,
}

impl Field {
    fn text(&self) -> String {
        self.characters.iter().map(|(character, _)| character).collect()
    }

    fn push(&mut self, text: &str, quoted: bool) {
        self.characters.extend(text.chars().map(|character| (character, quoted)));
        self.quoted |= quoted;
    }
}

impl Expander {
    fn literal(&mut self, text: &str, quoted: bool) {
        self.current.get_or_insert_default().push(text, quoted);
    }

    fn finish_field(&mut self) {
        let field = self.current.take().filter(|field| !field.characters.is_empty() || field.quoted);
        self.fields.extend(field);
    }

    /// The result of an expansion, split unless quoted.
    fn result(&mut self, text: &str, quoted: bool) {
        if quoted || self.splitting == Splitting::None {
            return self.literal(text, quoted);
        }
        for (index, part) in text.split([' ', '\t', '\n']).enumerate() {
            if index > 0 {
                self.finish_field();
            }
            if !part.is_empty() {
                self.literal(part, false);
            }
        }
    }

    fn expansion(&mut self, expansion: Expansion, quoted: bool) {
        let values = match expansion {
            Expansion::One(text) => return self.result(&text, quoted),
            Expansion::Many(values) if self.splitting == Splitting::None => {
                return self.result(&values.join(" "), quoted);
            }
            Expansion::Many(values) => values,
        };
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.finish_field();
            }
            self.result(value, quoted);
        }
    }
}

impl Shell<'_> {
    /// Expands a word to arguments.
    pub fn fields(&mut self, source: &str) -> Flow<Vec<String>> {
        self.step()?;
        let fields = self.expand(source, Splitting::Fields)?;
        let mut texts = Vec::new();
        for field in fields {
            self.count_bytes(field.characters.len())?;
            match self.paths(&field) {
                Some(paths) => texts.extend(paths),
                None => texts.push(field.text()),
            }
        }
        Ok(texts)
    }

    /// Expands a word to one text, without splitting.
    pub fn word_text(&mut self, source: &str) -> Flow<String> {
        self.step()?;
        let fields = self.expand(source, Splitting::None)?;
        Ok(fields.first().map(Field::text).unwrap_or_default())
    }

    /// Expands a word to a pattern: what is quoted stands for itself.
    pub fn word_pattern(&mut self, source: &str) -> Flow<Pattern> {
        self.step()?;
        let fields = self.expand(source, Splitting::None)?;
        let characters = fields.into_iter().next().unwrap_or_default().characters;
        self.compile(&characters)
    }

    fn compile(&self, characters: &[(char, bool)]) -> Flow<Pattern> {
        Pattern::new(characters).ok_or_else(|| {
            let text: String = characters.iter().map(|(character, _)| character).collect();
            self.not_interpreted(format!("pattern {text}"))
        })
    }

    /// Expands text as inside double quotes, where quotes themselves are plain characters.
    pub fn unquoted_text(&mut self, source: &str) -> Flow<String> {
        let pieces = word::parse_heredoc(source, &parser_options());
        let pieces = pieces.map_err(|_| self.error(source, ShellErrorKind::Syntax))?;
        let mut expander = Expander::new(Splitting::None);
        self.pieces(&pieces, true, source, &mut expander)?;
        expander.finish_field();
        Ok(expander.fields.first().map(Field::text).unwrap_or_default())
    }

    fn expand(&mut self, source: &str, splitting: Splitting) -> Flow<Vec<Field>> {
        let pieces = word::parse(source, &parser_options());
        let pieces = pieces.map_err(|_| self.error(source, ShellErrorKind::Syntax))?;
        self.check_left_out(&pieces, splitting)?;
        let mut expander = Expander::new(splitting);
        self.pieces(&pieces, false, source, &mut expander)?;
        expander.finish_field();
        Ok(expander.fields)
    }

    /// Tilde and brace expansion are not interpreted.
    fn check_left_out(&self, pieces: &[WordPieceWithSource], splitting: Splitting) -> Flow<()> {
        if let Some(WordPiece::Text(text)) = pieces.first().map(|piece| &piece.piece)
            && text.starts_with('~')
        {
            return Err(self.not_interpreted(format!("tilde expansion {text}")));
        }
        if splitting == Splitting::None {
            return Ok(());
        }
        let unquoted: String = pieces
            .iter()
            .map(|piece| match &piece.piece {
                WordPiece::Text(text) => text.as_str(),
                _ => "_",
            })
            .collect();
        let braces = unquoted.find('{').and_then(|open| Some((open, unquoted.rfind('}')?)));
        if let Some((open, close)) = braces.filter(|(open, close)| open < close) {
            let inside = &unquoted[open..close];
            if inside.contains(',') || inside.contains("..") {
                return Err(self.not_interpreted(format!("brace expansion {unquoted}")));
            }
        }
        Ok(())
    }

    fn pieces(
        &mut self,
        pieces: &[WordPieceWithSource],
        quoted: bool,
        source: &str,
        expander: &mut Expander,
    ) -> Flow<()> {
        for piece in pieces {
            let line = source.get(..piece.start_index).map_or(0, |before| before.matches('\n').count());
            self.piece(&piece.piece, quoted, source, line, expander)?;
        }
        Ok(())
    }

    fn piece(
        &mut self,
        piece: &WordPiece,
        quoted: bool,
        source: &str,
        line: usize,
        expander: &mut Expander,
    ) -> Flow<()> {
        match piece {
            WordPiece::Text(text) if quoted => expander.literal(&text.replace("\\\n", ""), true),
            WordPiece::Text(text) => expander.literal(text, false),
            WordPiece::SingleQuotedText(text) => expander.literal(text, true),
            WordPiece::AnsiCQuotedText(text) => expander.literal(&super::printf::ansi_c(text), true),
            WordPiece::DoubleQuotedSequence(inner) | WordPiece::GettextDoubleQuotedSequence(inner) => {
                // `"$@"` without parameters is no field at all; any other quotes make one.
                if !inner.iter().all(|piece| is_all_parameters(&piece.piece)) || inner.is_empty() {
                    expander.literal("", true);
                }
                self.pieces(inner, true, source, expander)?;
            }
            WordPiece::TildeExpansion(_) => return Err(self.not_interpreted("tilde expansion")),
            WordPiece::ParameterExpansion(expression) => {
                let value = self.parameter(expression, quoted)?;
                if !matches!(&value, Expansion::Many(values) if values.is_empty()) {
                    expander.expansion(value, quoted);
                }
            }
            WordPiece::CommandSubstitution(text) => {
                let output = self.substitution(text, line)?;
                expander.result(&output, quoted);
            }
            WordPiece::BackquotedCommandSubstitution(text) => {
                let output = self.substitution(&unescaped_backquoted(text, quoted), line)?;
                expander.result(&output, quoted);
            }
            WordPiece::EscapeSequence(text) => match text.strip_prefix('\\') {
                Some("\n") => {}
                Some(character) => expander.literal(character, true),
                None => expander.literal(text, true),
            },
            WordPiece::ArithmeticExpression(expression) => {
                let value = self.arithmetic(&expression.value)?;
                expander.result(&value.to_string(), quoted);
            }
        }
        Ok(())
    }

    /// Runs a script in a subshell and takes its output without the final newlines.
    fn substitution(&mut self, text: &str, line: usize) -> Flow<String> {
        let mut state = self.state.clone();
        state.errexit &= state.posix;
        state.line_offset = (self.state.line + line).saturating_sub(1);
        state.trace_depth += 1;
        let outer = std::mem::take(&mut self.streams.stdout);
        let result = self.subshell(state, |shell| shell.source(text));
        let output = std::mem::replace(&mut self.streams.stdout, outer);
        let status = result?;
        self.state.status = status;
        self.state.substitution_status = status;
        let output: Vec<u8> = output.into_iter().filter(|&byte| byte != 0).collect();
        let text = String::from_utf8_lossy(&output);
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// The files a field names if it has unquoted `*`, `?` or `[`; `None` leaves the field as it is.
    fn paths(&self, field: &Field) -> Option<Vec<String>> {
        let special = |&(character, quoted): &(char, bool)| !quoted && matches!(character, '*' | '?' | '[');
        if !field.characters.iter().any(special) {
            return None;
        }
        let relative = field.characters.first().is_none_or(|&(character, _)| character != '/');
        let parts: Vec<Option<Pattern>> = field
            .characters
            .split(|&(character, _)| character == '/')
            .filter(|part| !part.is_empty())
            .map(Pattern::new)
            .collect();
        let mut found: Vec<String> = Vec::new();
        for path in self.files.keys() {
            let path = absolute(path);
            let names: Vec<&str> = path.split('/').skip(1).collect();
            let Some(names) = names.get(..parts.len()) else { continue };
            let matches = parts.iter().zip(names).all(|(pattern, name)| {
                let hidden = name.starts_with('.');
                pattern.as_ref().is_some_and(|p| p.matches(name) && (!hidden || p.starts_with_dot()))
            });
            let joined = names.join("/");
            let candidate = if relative { joined } else { format!("/{joined}") };
            if matches && found.last() != Some(&candidate) {
                found.push(candidate);
            }
        }
        found.sort();
        found.dedup();
        (!found.is_empty()).then_some(found)
    }

    /// Ends the shell because of an expansion error (`${x:?}`, `set -u`), as a shell that is not interactive does.
    pub fn expansion_failure(&mut self, message: &str) -> Stop {
        if let Err(stop) = self.complain(message) {
            return stop;
        }
        // What bash 5 does: 127 for the text of `-c`, 1 for a file.
        let status = if self.state.script == "bash -c" { 127 } else { 1 };
        self.record_failure(message, status);
        Stop::Exit(status)
    }
}

impl Expander {
    fn new(splitting: Splitting) -> Expander {
        Expander { fields: Vec::new(), current: None, splitting }
    }
}

fn is_all_parameters(piece: &WordPiece) -> bool {
    use brush_parser::word::{Parameter, ParameterExpr, SpecialParameter};
    let WordPiece::ParameterExpansion(ParameterExpr::Parameter { parameter, .. }) = piece else {
        return false;
    };
    matches!(
        parameter,
        Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate: false })
            | Parameter::NamedWithAllIndices { concatenate: false, .. }
    )
}

/// Inside backquotes a backslash is kept but before `$`, `\` and a backquote (which the parser has taken off
/// already), and inside double quotes also before `"`.
fn unescaped_backquoted(text: &str, quoted: bool) -> String {
    let mut result = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\\' {
            match characters.peek() {
                Some(&next @ ('$' | '\\')) => {
                    result.push(next);
                    characters.next();
                    continue;
                }
                Some('"') if quoted => {
                    result.push('"');
                    characters.next();
                    continue;
                }
                _ => {}
            }
        }
        result.push(character);
    }
    result
}

/// A word as the trace of `set -x` shows it: quoted when the shell would treat it otherwise.
pub(super) fn requoted(word: &str) -> String {
    let special = |c: char| c.is_whitespace() || "'\"\\|&;()<>!{}*[]?^$`".contains(c);
    if word.is_empty() || word.starts_with(['~', '#']) || word.contains(special) {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    word.to_owned()
}
