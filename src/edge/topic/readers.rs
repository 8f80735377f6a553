//! Who listens to a topic, in its object's memory: how far each has acknowledged, and the rounds in which all are sent the
//! same.
//!
//! Invariant: the list has every socket that the platform has, in the same places as the numbers beside it. It is made anew
//! out of what is attached to the sockets when the object wakes up. Before a round, whoever has no room for it is sent away.

use std::cell::RefCell;

use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::Array;
use worker::{State, WebSocket};

use super::sockets::{self, Attached};
use crate::access::bar::Barred;
use crate::channel::frame::{self, Close};
use crate::channel::object::{Round, parting};
use crate::channel::window::Sent;
use crate::error::Result;

#[wasm_bindgen(module = "/src/edge/topic/fan.js")]
extern "C" {
    fn enter(list: &Array, socket: &JsValue);
    #[wasm_bindgen(js_name = placeOf)]
    fn place_of(socket: &JsValue) -> i32;
    fn leave(list: &Array, place: u32);
    fn flush(list: &Array) -> bool;
    fn round(list: &Array, open: &str, events: &str, close: &str, most: u32);
    fn announce(list: &Array, text: &str);
}

/// The most characters of events that are sent as one.
const MOST_TOGETHER: u32 = 1 << 18;

/// The listeners of one object.
#[derive(Default)]
pub struct Readers {
    inner: RefCell<Option<Inner>>,
}

#[derive(Default)]
struct Inner {
    sockets: Array,
    acknowledged: Vec<u64>,
    sent: Sent,
}

impl Inner {
    fn woken(state: &State) -> Inner {
        let mut inner = Inner::default();
        for socket in state.get_websockets() {
            let attached = sockets::attached(&socket);
            inner.enter(&socket, attached.map_or(0, |attached| attached.acknowledged));
        }
        inner
    }

    fn enter(&mut self, socket: &WebSocket, acknowledged: u64) {
        enter(&self.sockets, socket.as_ref());
        self.acknowledged.push(acknowledged);
    }

    fn place(&self, socket: &WebSocket) -> Option<usize> {
        usize::try_from(place_of(socket.as_ref())).ok().filter(|place| *place < self.acknowledged.len())
    }

    fn leave(&mut self, place: usize) {
        if let Ok(number) = u32::try_from(place)
            && place < self.acknowledged.len()
        {
            leave(&self.sockets, number);
            self.acknowledged.swap_remove(place);
        }
    }
}

impl Readers {
    fn with<T>(&self, state: &State, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(self.inner.borrow_mut().get_or_insert_with(|| Inner::woken(state)))
    }

    /// One more, who has everything up to `newest`. Call it before the socket is accepted, or it would be counted twice.
    pub fn enter(&self, state: &State, socket: &WebSocket, newest: u64) {
        self.with(state, |inner| inner.enter(socket, newest));
    }

    /// Sends what waits for the end of a round, before somebody enters who is told of it otherwise.
    pub fn flush(&self, state: &State) {
        self.with(state, |inner| flush(&inner.sockets));
    }

    /// One less.
    pub fn leave(&self, state: &State, socket: &WebSocket) {
        self.with(state, |inner| inner.place(socket).into_iter().for_each(|place| inner.leave(place)));
    }

    /// The client of `socket` has read everything up to `offset`.
    pub fn acknowledge(&self, state: &State, socket: &WebSocket, offset: u64) -> Result<()> {
        let moved = self.with(state, |inner| {
            let place = inner.place(socket)?;
            let known = inner.acknowledged.get_mut(place)?;
            (*known < offset).then(|| *known = offset)
        });
        match (moved, sockets::attached(socket)) {
            (Some(()), Some(attached)) => sockets::attach(socket, &Attached { acknowledged: offset, ..attached }),
            _ => Ok(()),
        }
    }

    /// Sends those away whom `barred` is about.
    pub fn bar(&self, state: &State, barred: &Barred) -> Result<()> {
        let why = parting(barred);
        let bye = frame::bye(why)?;
        self.with(state, |inner| {
            // What waits goes to everybody who was there when it came.
            flush(&inner.sockets);
            for socket in sockets::barred(state, barred) {
                inner.place(&socket).into_iter().for_each(|place| inner.leave(place));
                sockets::send_away(&socket, &bye, why);
            }
        });
        Ok(())
    }

    /// Sends everybody who has room the same frames.
    pub fn round(&self, state: &State, round: &Round) -> Result<()> {
        let bye = frame::bye(Close::Slow)?;
        self.with(state, |inner| {
            for place in (0..inner.acknowledged.len()).rev() {
                let room = inner.acknowledged.get(place).is_some_and(|known| inner.sent.has_room(*known, round.before));
                if !room {
                    // What waits goes to everybody who was there when it came.
                    flush(&inner.sockets);
                    let socket = inner.sockets.get(u32::try_from(place).unwrap_or(u32::MAX));
                    inner.leave(place);
                    sockets::send_away(&WebSocket::from(worker::web_sys::WebSocket::from(socket)), &bye, Close::Slow);
                }
            }
            if let Some(text) = &round.announcement {
                announce(&inner.sockets, text);
            }
            if !round.events.is_empty() {
                let (open, close) = frame::AROUND_EVENTS;
                self::round(&inner.sockets, open, &round.events, close, MOST_TOGETHER);
            }
            inner.sent.round(round.newest, round.bytes());
        });
        Ok(())
    }
}
