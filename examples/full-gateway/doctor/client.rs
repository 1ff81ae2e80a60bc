//! The clients that people use, as far as it is known what stops them.

use clap::ValueEnum;
use serde::Serialize;

/// A client whose way through discovery is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Client {
    /// Claude.ai and the connectors of Claude Desktop
    Claude,
    /// Claude Code
    ClaudeCode,
    /// The connectors of ChatGPT
    Chatgpt,
    /// Codex CLI, and what else is built on rmcp, such as goose
    Codex,
    /// VS Code
    Vscode,
    /// Cursor, and what else is built on the TypeScript SDK
    Cursor,
    /// Gemini CLI
    Gemini,
    /// Copilot CLI
    Copilot,
    /// opencode
    Opencode,
    /// The MCP Inspector, in a browser
    Inspector,
}

impl Client {
    /// Each of them.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Claude,
        Self::ClaudeCode,
        Self::Chatgpt,
        Self::Codex,
        Self::Vscode,
        Self::Cursor,
        Self::Gemini,
        Self::Copilot,
        Self::Opencode,
        Self::Inspector,
    ];

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude",
            Self::ClaudeCode => "Claude Code",
            Self::Chatgpt => "ChatGPT",
            Self::Codex => "Codex",
            Self::Vscode => "VS Code",
            Self::Cursor => "Cursor",
            Self::Gemini => "Gemini CLI",
            Self::Copilot => "Copilot CLI",
            Self::Opencode => "opencode",
            Self::Inspector => "MCP Inspector",
        }
    }
}
