//! postbackd.

pub mod money;
pub mod secret;

pub mod event;

pub mod command;
pub mod delivery;
pub mod outcome;
pub mod request;

pub mod nearest;
pub mod template;

pub mod basis;
pub mod destination;
pub mod platform;
pub mod route;
pub mod when;
