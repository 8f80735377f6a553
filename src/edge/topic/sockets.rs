//! The sockets of a topic's object: accepted so that the object may sleep, remembered by what is attached to them.

use serde::{Deserialize, Serialize};
use worker::{State, WebSocket, WebSocketRequestResponsePair};

use crate::access::bar::{Barred, Listener};
use crate::channel::frame::Close;
use crate::edge::platform_fault;
use crate::error::{Error, Result};

/// What is remembered of a listener while the object sleeps: at most 16 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Who listens.
    pub listener: Listener,
    /// The offset up to which they have acknowledged.
    pub acknowledged: u64,
}

/// The sockets that `barred` is about. One to which another version of the program attached something else is not known to
/// be let in.
pub fn barred(state: &State, barred: &Barred) -> Vec<WebSocket> {
    let concerned = match barred {
        Barred::Session(tag) | Barred::Before(tag, _) => state.get_websockets_with_tag(tag),
        Barred::Moved(_) => state.get_websockets(),
    };
    let stays = |socket: &WebSocket| attached(socket).is_some_and(|attached| !barred.is_about(&attached.listener));
    concerned.into_iter().filter(|socket| !stays(socket)).collect()
}

/// Takes `socket`, found again by session and account. The text `ping` is answered by `pong` while the object sleeps.
pub fn accept(state: &State, socket: &WebSocket, attached: &Attached) -> Result<()> {
    let ping = WebSocketRequestResponsePair::new("ping", "pong")
        .map_err(|_| Error::internal("the answer to pings could not be set"))?;
    state.set_websocket_auto_response(&ping);
    state.accept_websocket_with_tags(socket, &[&attached.listener.session, &attached.listener.user]);
    attach(socket, attached)
}

/// Attaches what is to be remembered.
pub fn attach(socket: &WebSocket, listener: &Attached) -> Result<()> {
    socket.serialize_attachment(listener).map_err(|error| platform_fault("a listener could not be noted", error))
}

/// What is attached; `None` where another version of the program attached something else.
pub fn attached(socket: &WebSocket) -> Option<Attached> {
    socket.deserialize_attachment().ok().flatten()
}

/// Whether the listener of `socket` is told only what a display shows.
pub fn is_reduced(socket: &WebSocket) -> bool {
    attached(socket).is_some_and(|attached| attached.listener.reduced)
}

/// Sends one listener a frame.
pub fn send(socket: &WebSocket, frame: String) -> Result<()> {
    socket.send_with_str(frame).map_err(|error| platform_fault("a socket could not be written to", error))
}

/// Closes the socket of one listener, who has been told why.
pub fn close(socket: &WebSocket, why: Close) -> Result<()> {
    socket
        .close(Some(why.code()), Some(why.reason()))
        .map_err(|error| platform_fault("a socket could not be closed", error))
}

/// Tells a listener why, and closes. One that cannot be written to is closing.
pub fn send_away(socket: &WebSocket, bye: &str, why: Close) {
    let _ = socket.send_with_str(bye);
    let _ = socket.close(Some(why.code()), Some(why.reason()));
}
