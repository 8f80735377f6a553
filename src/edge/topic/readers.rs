//! Who listens to a topic, in its object's memory: how far each has acknowledged, and the rounds in which all are sent the
//! same.
//!
//! Invariant: a list has every socket that the platform has, in the same places as the numbers beside it; those of displays
//! that everybody sees are in a list of their own, which is sent no more than they may show. Both are made anew out of what
//! is attached to the sockets when the object wakes up. Before a round, whoever has no room for it is sent away.

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
use crate::vitals::display;

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
    lists: RefCell<Option<Lists>>,
}

#[derive(Default)]
struct Lists {
    all: List,
    reduced: List,
}

impl Lists {
    fn woken(state: &State) -> Lists {
        let mut lists = Lists::default();
        for socket in state.get_websockets() {
            let attached = sockets::attached(&socket);
            let (reduced, acknowledged) =
                attached.map_or((false, 0), |attached| (attached.listener.reduced, attached.acknowledged));
            lists.of(reduced).enter(&socket, acknowledged);
        }
        lists
    }

    fn of(&mut self, reduced: bool) -> &mut List {
        if reduced { &mut self.reduced } else { &mut self.all }
    }
}

#[derive(Default)]
struct List {
    sockets: Array,
    acknowledged: Vec<u64>,
    sent: Sent,
}

impl List {
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

    fn drop(&mut self, socket: &WebSocket) {
        self.place(socket).into_iter().for_each(|place| self.leave(place));
    }

    /// Sends everybody who has room the same frames, and the others `bye`.
    fn round(&mut self, round: &Round, bye: &str) {
        for place in (0..self.acknowledged.len()).rev() {
            let room = self.acknowledged.get(place).is_some_and(|known| self.sent.has_room(*known, round.before));
            if !room {
                // What waits goes to everybody who was there when it came.
                flush(&self.sockets);
                let socket = self.sockets.get(u32::try_from(place).unwrap_or(u32::MAX));
                self.leave(place);
                sockets::send_away(&WebSocket::from(worker::web_sys::WebSocket::from(socket)), bye, Close::Slow);
            }
        }
        if let Some(text) = &round.announcement {
            announce(&self.sockets, text);
        }
        if !round.events.is_empty() {
            let (open, close) = frame::AROUND_EVENTS;
            self::round(&self.sockets, open, &round.events, close, MOST_TOGETHER);
        }
        self.sent.round(round.newest, round.bytes());
    }
}

impl Readers {
    fn with<T>(&self, state: &State, work: impl FnOnce(&mut Lists) -> T) -> T {
        work(self.lists.borrow_mut().get_or_insert_with(|| Lists::woken(state)))
    }

    /// One more, who has everything up to `newest`. Call it before the socket is accepted, or it would be counted twice.
    pub fn enter(&self, state: &State, socket: &WebSocket, reduced: bool, newest: u64) {
        self.with(state, |lists| lists.of(reduced).enter(socket, newest));
    }

    /// Sends what waits for the end of a round, before somebody enters who is told of it otherwise.
    pub fn flush(&self, state: &State) {
        self.with(state, |lists| [&lists.all, &lists.reduced].map(|list| flush(&list.sockets)));
    }

    /// One less.
    pub fn leave(&self, state: &State, socket: &WebSocket, reduced: bool) {
        self.with(state, |lists| lists.of(reduced).drop(socket));
    }

    /// The client of `socket` has read everything up to `offset`.
    pub fn acknowledge(&self, state: &State, socket: &WebSocket, offset: u64) -> Result<()> {
        let Some(attached) = sockets::attached(socket) else { return Ok(()) };
        let moved = self.with(state, |lists| {
            let list = lists.of(attached.listener.reduced);
            let place = list.place(socket)?;
            let known = list.acknowledged.get_mut(place)?;
            (*known < offset).then(|| *known = offset)
        });
        match moved {
            Some(()) => sockets::attach(socket, &Attached { acknowledged: offset, ..attached }),
            None => Ok(()),
        }
    }

    /// Sends those away whom `barred` is about.
    pub fn bar(&self, state: &State, barred: &Barred) -> Result<()> {
        let why = parting(barred);
        let bye = frame::bye(why)?;
        // What waits goes to everybody who was there when it came.
        self.flush(state);
        for socket in sockets::barred(state, barred) {
            self.leave(state, &socket, sockets::is_reduced(&socket));
            sockets::send_away(&socket, &bye, why);
        }
        Ok(())
    }

    /// Sends everybody who has room the same frames, and displays what they may show of them.
    pub fn round(&self, state: &State, round: &Round) -> Result<()> {
        let bye = frame::bye(Close::Slow)?;
        self.with(state, |lists| {
            lists.all.round(round, &bye);
            if !lists.reduced.acknowledged.is_empty() {
                let (announcement, events) = (round.announcement.clone(), display::texts(&round.events)?);
                lists.reduced.round(&Round { announcement, events, ..*round }, &bye);
            }
            Ok(())
        })
    }
}
