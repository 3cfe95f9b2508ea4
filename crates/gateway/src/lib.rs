//! One stateless node of the WebSocket gateway cluster. The binary is a thin shell around [`app`].

pub mod admin;
pub mod admission;
pub mod app;
pub mod auth;
pub mod budget;
pub mod commands;
pub mod config;
pub mod descriptors;
pub mod drain;
pub mod grant;
pub mod http;
pub mod hub;
pub mod inbox;
pub mod limit;
pub mod local;
pub mod metrics;
pub mod node;
pub mod outbox;
pub mod pattern;
pub mod places;
pub mod policy;
pub mod session;
pub mod shedding;
pub mod socket;
pub mod websocket;
pub mod worker;
