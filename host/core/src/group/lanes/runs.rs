//! What one member has in hand.

use super::{Entry, Lane, Lanes, MemberId, State, Token};

impl Lanes {
    /// The first delivery of each lane that a member has not acknowledged, in the order in which they were
    /// handed out.
    pub(in crate::group) fn first_of_each_run(&self, member: MemberId) -> Vec<Token> {
        let mut tokens: Vec<Token> = self.runs_of(member).filter_map(Lane::first_out).collect();
        tokens.sort_unstable();
        tokens
    }

    /// What a member has acknowledged and nobody has committed, in the order in which it was handed out.
    pub(in crate::group) fn noted(&self, member: MemberId) -> Vec<Token> {
        let noted = |entry: &Entry| match entry.state {
            State::Noted { token, .. } => Some(token),
            _ => None,
        };
        let mut tokens: Vec<Token> =
            self.runs_of(member).flat_map(|lane| lane.entries.iter().filter_map(noted)).collect();
        tokens.sort_unstable();
        tokens
    }

    /// Deliveries that a member has and has not acknowledged.
    pub(in crate::group) fn unacknowledged(&self, member: MemberId) -> usize {
        let out = |entry: &&Entry| matches!(entry.state, State::Out { .. });
        self.runs_of(member).map(|lane| lane.entries.iter().filter(out).count()).sum()
    }

    fn runs_of(&self, member: MemberId) -> impl Iterator<Item = &Lane> {
        self.runs.get(&member).into_iter().flatten().filter_map(|id| self.lanes.get(id))
    }

    /// Forgets a member that has nothing any more.
    pub(in crate::group) fn forget_member(&mut self, member: MemberId) {
        self.runs.remove(&member);
        self.held.remove(&member);
    }
}
