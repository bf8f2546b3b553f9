//! Commands whose replies are still due.

use alloc::collections::VecDeque;

use super::command::CommandKind;

/// Commands in the order in which they will be answered.
///
/// ```text
/// commands: │ have left: can be answered │ not written yet │
///           0                           sent             len
/// ```
pub(super) struct Queue {
    commands: VecDeque<CommandKind>,
    sent: usize,
    /// Whether the first command is AUTH and the next line is ours. It counts as not written then.
    challenged: bool,
}

impl Queue {
    /// Makes a queue in which only the connection awaits its reply, the greeting.
    pub(super) fn new() -> Self {
        Self {
            commands: VecDeque::from([CommandKind::Connect]),
            sent: 1,
            challenged: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// The command that is answered next.
    pub(super) fn front(&self) -> Option<CommandKind> {
        self.commands.front().copied()
    }

    /// The command that is answered next, if the server can know of it already.
    pub(super) fn front_sent(&self) -> Option<CommandKind> {
        self.front().filter(|_| self.sent > 0)
    }

    pub(super) fn push(&mut self, command: CommandKind) {
        self.commands.push_back(command);
    }

    /// Takes note that so many more commands have left.
    pub(super) fn sent(&mut self, commands: usize) {
        self.sent = (self.sent + commands).min(self.commands.len());
    }

    /// Takes note that the server waits for a response to its challenge.
    pub(super) fn challenge(&mut self) {
        self.challenged = true;
        self.sent = 0;
    }

    pub(super) const fn is_challenged(&self) -> bool {
        self.challenged
    }

    /// Takes note that the response is queued; it is [`sent`](Self::sent) like a command.
    pub(super) const fn responded(&mut self) {
        self.challenged = false;
    }

    /// Removes the command that was answered.
    pub(super) fn pop(&mut self) {
        self.commands.pop_front();
        self.sent = self.sent.saturating_sub(1);
    }

    /// Forgets the commands that have not left.
    pub(super) fn drop_unsent(&mut self) {
        self.commands.truncate(self.sent);
    }
}
