//! The sockets of a topic's object: accepted so that the object may sleep, remembered by what is attached to them.

use serde::{Deserialize, Serialize};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::{State, WebSocket, WebSocketRequestResponsePair};

use crate::channel::frame::Close;
use crate::edge::platform_fault;
use crate::error::{Error, Result};

#[wasm_bindgen]
extern "C" {
    type Socket;

    /// `WebSocket.send` of a string that is in JavaScript already, so that it is made once for all sockets.
    #[wasm_bindgen(method, catch)]
    fn send(this: &Socket, text: &JsValue) -> std::result::Result<(), JsValue>;
}

/// What is remembered of a listener while the object sleeps: at most 16 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Who listens: the id of their account.
    pub user: String,
}

/// Takes `socket` as that of `listener`. The text `ping` is answered by `pong` while the object sleeps.
pub fn accept(state: &State, socket: &WebSocket, listener: &Listener) -> Result<()> {
    let ping = WebSocketRequestResponsePair::new("ping", "pong")
        .map_err(|_| Error::internal("the answer to pings could not be set"))?;
    state.set_websocket_auto_response(&ping);
    state.accept_web_socket(socket);
    socket.serialize_attachment(listener).map_err(|error| platform_fault("a listener could not be noted", error))
}

/// Sends one listener a frame.
pub fn send(socket: &WebSocket, frame: String) -> Result<()> {
    socket.send_with_str(frame).map_err(|error| platform_fault("a socket could not be written to", error))
}

/// Sends everybody the same frames, in order.
pub fn send_all(state: &State, frames: Vec<String>) {
    if frames.is_empty() {
        return;
    }
    let frames: Vec<JsValue> = frames.into_iter().map(JsValue::from).collect();
    for socket in state.get_websockets() {
        let socket: &Socket = socket.as_ref().unchecked_ref();
        // A socket that cannot be written to is closing; it comes back with its cursor.
        let _ = frames.iter().try_for_each(|text| socket.send(text));
    }
}

/// Closes the socket of one listener, who has been told why.
pub fn close(socket: &WebSocket, why: Close) -> Result<()> {
    socket
        .close(Some(why.code()), Some(why.reason()))
        .map_err(|error| platform_fault("a socket could not be closed", error))
}
