//! Wallets of the host's that pay for resets.

use std::fmt;

use crate::subject::Subject;

/// A wallet that the host keeps, to pay for a reset: [`Scope::paid_reset_with`](crate::Scope::paid_reset_with).
///
/// The engine calls it with no lock held and nothing kept waiting. It may use the engine meanwhile.
pub trait Wallet {
    /// Takes `amount` from the wallet of `subject`.
    ///
    /// # Errors
    /// When there is too little in it, or it cannot be done. Nothing may have been taken then.
    fn charge(&self, subject: &Subject, amount: u64) -> Result<(), WalletError>;

    /// Gives back the `amount` that was taken just before: the reset did not come about.
    ///
    /// # Errors
    /// When it cannot be done. The subject is owed the amount then.
    fn refund(&self, subject: &Subject, amount: u64) -> Result<(), WalletError>;
}

/// Why a wallet did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalletError {
    /// There is less in it than the amount.
    Insufficient,
    /// It failed, in the host's words.
    Failed(Box<str>),
}

impl fmt::Display for WalletError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insufficient => f.write_str("there is too little in the wallet"),
            Self::Failed(cause) => write!(f, "the wallet failed: {cause}"),
        }
    }
}

impl std::error::Error for WalletError {}
