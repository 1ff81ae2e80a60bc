//! What the walk has shown, in the order in which a client walks.

use std::fmt;

use serde::{Serialize, Serializer};

use super::client::Client;
use super::problem::Problem;

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Connection,
    UnauthenticatedRequest,
    ProtectedResourceMetadata,
    AuthorizationServerMetadata,
    Endpoints,
    CrossOrigin,
    Session,
    Clock,
}

impl Step {
    fn title(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::UnauthenticatedRequest => "A request without a token",
            Self::ProtectedResourceMetadata => "Protected resource metadata",
            Self::AuthorizationServerMetadata => "Authorization server metadata",
            Self::Endpoints => "Endpoints",
            Self::CrossOrigin => "Clients in a browser",
            Self::Session => "A session with the token",
            Self::Clock => "Clocks",
        }
    }
}

/// How much a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Good,
    /// No client that is known, or none that was asked for, fails with it.
    Warning,
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) step: Step,
    pub(crate) outcome: Result<String, Problem>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) url: String,
    /// Whose eyes it is seen with; all clients' if `None`.
    pub(crate) client: Option<Client>,
    pub(crate) lines: Vec<Line>,
    /// Whether there was anybody to look at.
    pub(crate) reached: bool,
}

impl Report {
    /// What a line means to the clients that count.
    pub(crate) fn verdict(&self, line: &Line) -> Verdict {
        let Err(problem) = &line.outcome else {
            return Verdict::Good;
        };
        let stops = problem.stops();
        let wrong = match self.client {
            Some(client) => stops.contains(&client),
            None => !stops.is_empty(),
        };
        if wrong || problem.is_wrong_for_all() {
            Verdict::Wrong
        } else {
            Verdict::Warning
        }
    }

    /// How many lines have this verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| self.verdict(line) == verdict).count()
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.reached && self.count(Verdict::Wrong) == 0
    }

    fn in_order(&self) -> Vec<&Line> {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by_key(|line| line.step);
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.url)?;
        let mut step = None;
        for line in self.in_order() {
            if step != Some(line.step) {
                writeln!(formatter, "\n{}", line.step.title())?;
                step = Some(line.step);
            }
            let problem = match &line.outcome {
                Ok(good) => {
                    writeln!(formatter, "  ✓ {good}")?;
                    continue;
                }
                Err(problem) => problem,
            };
            let mark = if self.verdict(line) == Verdict::Wrong {
                '✗'
            } else {
                '!'
            };
            writeln!(formatter, "  {mark} {problem}")?;
            writeln!(formatter, "      → {}", problem.advice())?;
            let stops = problem.stops();
            if stops.len() == Client::ALL.len() {
                writeln!(formatter, "      stops every client")?;
            } else if !stops.is_empty() {
                let names: Vec<_> = stops.iter().map(|client| client.name()).collect();
                writeln!(formatter, "      stops {}", names.join(", "))?;
            }
        }
        writeln!(formatter)?;
        let who = self
            .client
            .map_or_else(String::new, |client| format!(" for {}", client.name()));
        match (self.count(Verdict::Wrong), self.count(Verdict::Warning)) {
            _ if !self.reached => write!(formatter, "Nobody answers there."),
            (0, 0) => write!(formatter, "All is well{who}."),
            (0, warnings) => write!(formatter, "Nothing is wrong{who}; to be looked at: {warnings}."),
            (wrong, 0) => write!(formatter, "Wrong{who}: {wrong}."),
            (wrong, warnings) => write!(formatter, "Wrong{who}: {wrong}; to be looked at: {warnings}."),
        }
    }
}

#[derive(Serialize)]
struct LineInJson<'a> {
    step: Step,
    verdict: Verdict,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stops: &'static [Client],
    #[serde(flatten)]
    problem: Option<&'a Problem>,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct InJson<'a> {
            url: &'a str,
            client: Option<Client>,
            reached: bool,
            good: bool,
            lines: Vec<LineInJson<'a>>,
        }
        let lines = self.in_order().into_iter().map(|line| LineInJson {
            step: line.step,
            verdict: self.verdict(line),
            message: match &line.outcome {
                Ok(good) => good.clone(),
                Err(problem) => problem.to_string(),
            },
            advice: line.outcome.as_ref().err().map(Problem::advice),
            stops: line.outcome.as_ref().err().map_or(&[], Problem::stops),
            problem: line.outcome.as_ref().err(),
        });
        let report = InJson {
            url: &self.url,
            client: self.client,
            reached: self.reached,
            good: self.is_good(),
            lines: lines.collect(),
        };
        report.serialize(serializer)
    }
}
