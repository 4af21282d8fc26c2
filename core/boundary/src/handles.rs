//! Integers that stand for objects.
//!
//! A host that cannot hold an `Arc` (C, the JVM) holds a handle:
//! `kind (8 bits) | generation (24 bits) | index (32 bits)`. Each use is checked, so that a handle
//! that is zero, was removed, belongs to another kind or comes from the parent process is an error
//! with a name and never touches memory. Resolving one clones the `Arc`: an object that is removed
//! while another thread uses it lives until that use ends.

use std::{
    array, process,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use crate::{Error, ErrorCode, process::PerProcess};

/// Threads that make objects are spread over the shards; a power of two.
const SHARDS: usize = 16;
/// The last generation that 24 bits hold. A slot that has come so far is not used again.
const LAST_GENERATION: u32 = (1 << 24) - 1;
/// Positions in a shard: what is left of 32 bits.
const POSITIONS: u32 = u32::MAX / SHARDS as u32;

/// A table of objects of one kind, made for a `static`:
///
/// ```
/// use millstream_boundary::{ErrorCode, handles::HandleTable};
/// use std::sync::Arc;
///
/// static NAMES: HandleTable<String> = HandleTable::new(9, "name");
///
/// let handle = NAMES.insert(Arc::new("Ada".to_owned()));
/// assert_eq!(NAMES.get(handle).unwrap().as_str(), "Ada");
/// NAMES.remove(handle).unwrap();
/// assert_eq!(NAMES.get(handle).unwrap_err().code, ErrorCode::InvalidHandle);
/// ```
pub struct HandleTable<T> {
    kind: u8,
    name: &'static str,
    last_generation: u32,
    table: PerProcess<Table<T>>,
}

/// The objects of one process.
struct Table<T> {
    shards: [Shard<T>; SHARDS],
    live: AtomicUsize,
}

struct Shard<T> {
    slots: RwLock<Slots<T>>,
    /// Positions below were given out by a parent process. They are never given out again, so that
    /// a handle of the parent cannot mean an object of the child.
    base: u32,
    /// Positions below are given out. A forked child reads it without the lock, which a thread of
    /// the parent may have held.
    end: AtomicU32,
}

struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// Slots without an object that can be used again.
    free: Vec<u32>,
}

struct Slot<T> {
    /// Of the handle that is given out, or will be next.
    generation: u32,
    object: Option<Arc<T>>,
}

/// What a handle says, once kind and process are checked.
struct Place<'a, T> {
    table: &'a Table<T>,
    shard: &'a Shard<T>,
    slot: u32,
    generation: u32,
}

impl<T: Send + Sync> HandleTable<T> {
    /// An empty table. `kind` stands in each of its handles and differs between tables; `name` is
    /// for errors, such as "channel".
    ///
    /// # Panics
    /// At compile time, for a `static`: if `kind` is 0, which would make a handle of 0.
    pub const fn new(kind: u8, name: &'static str) -> HandleTable<T> {
        assert!(kind != 0, "a handle table needs a kind from 1 to 255");
        HandleTable { kind, name, last_generation: LAST_GENERATION, table: PerProcess::new() }
    }

    /// Gives an object a handle of its own. 0, which no operation accepts, if all 2^32 places are
    /// taken.
    pub fn insert(&self, object: Arc<T>) -> u64 {
        let table = self.table();
        let first = shard_of_thread();
        for at in (first..first + SHARDS).map(|at| at % SHARDS) {
            let shard = &table.shards[at];
            let mut slots = write(&shard.slots);
            let slot = match slots.free.pop() {
                Some(slot) => slot,
                None => {
                    let slot = slots.slots.len() as u32;
                    let position = shard.base + slot;
                    if position == POSITIONS {
                        continue;
                    }
                    slots.slots.push(Slot { generation: 1, object: None });
                    shard.end.store(position + 1, Ordering::Relaxed);
                    slot
                }
            };
            let place = &mut slots.slots[slot as usize];
            place.object = Some(object);
            table.live.fetch_add(1, Ordering::Relaxed);
            let index = (shard.base + slot) * SHARDS as u32 + at as u32;
            return u64::from(self.kind) << 56
                | u64::from(place.generation) << 32
                | u64::from(index);
        }
        0
    }

    /// The object of a handle.
    ///
    /// # Errors
    /// `INVALID_HANDLE` for zero, a handle of another kind, one that was removed, and any number
    /// that is no handle; `FORKED` for a handle of the parent process.
    #[inline]
    pub fn get(&self, handle: u64) -> Result<Arc<T>, Error> {
        let place = self.find(handle)?;
        let slots = read(&place.shard.slots);
        match slots.slots.get(place.slot as usize) {
            Some(Slot { generation, object: Some(object) }) if *generation == place.generation => {
                Ok(object.clone())
            }
            _ => Err(self.stale(handle)),
        }
    }

    /// Takes the object out; its handle is stale from now on. Who drops the object decides when:
    /// no lock is held.
    ///
    /// # Errors
    /// Those of [`get`](HandleTable::get): the second of two removes fails.
    pub fn remove(&self, handle: u64) -> Result<Arc<T>, Error> {
        let place = self.find(handle)?;
        let mut slots = write(&place.shard.slots);
        let slot = slots
            .slots
            .get_mut(place.slot as usize)
            .filter(|slot| slot.generation == place.generation)
            .ok_or_else(|| self.stale(handle))?;
        let object = slot.object.take().ok_or_else(|| self.stale(handle))?;
        // A slot that has used up its generations stays empty: to begin again would bring the
        // first handles back to life.
        if slot.generation < self.last_generation {
            slot.generation += 1;
            slots.free.push(place.slot);
        }
        place.table.live.fetch_sub(1, Ordering::Relaxed);
        Ok(object)
    }

    /// The number of handles that were given out in this process and not removed.
    pub fn live(&self) -> usize {
        self.table().live.load(Ordering::Relaxed)
    }

    fn table(&self) -> &Table<T> {
        self.table.get(|parent| Table {
            shards: array::from_fn(|at| {
                let base = parent.map_or(0, |table| table.shards[at].end.load(Ordering::Relaxed));
                Shard {
                    slots: RwLock::new(Slots { slots: Vec::new(), free: Vec::new() }),
                    base,
                    end: AtomicU32::new(base),
                }
            }),
            live: AtomicUsize::new(0),
        })
    }

    #[inline]
    fn find(&self, handle: u64) -> Result<Place<'_, T>, Error> {
        if handle >> 56 != u64::from(self.kind) {
            return Err(self.foreign(handle));
        }
        let table = self.table();
        let index = handle as u32;
        let shard = &table.shards[index as usize % SHARDS];
        match (index / SHARDS as u32).checked_sub(shard.base) {
            Some(slot) => {
                let generation = (handle >> 32) as u32 & LAST_GENERATION;
                Ok(Place { table, shard, slot, generation })
            }
            None => Err(Error::new(
                ErrorCode::Forked,
                format!(
                    "{} handle {handle:#x} cannot be used in process {}, which was forked after \
                     the handle was made; open a new channel",
                    self.name,
                    process::id()
                ),
            )),
        }
    }

    #[cold]
    fn foreign(&self, handle: u64) -> Error {
        let why = if handle == 0 { "is zero" } else { "is of another kind, or no handle at all" };
        invalid(format!("handle {handle:#x} {why}; a {} handle is needed", self.name))
    }

    #[cold]
    fn stale(&self, handle: u64) -> Error {
        invalid(format!(
            "{} handle {handle:#x} is stale: it was freed, or never given out",
            self.name
        ))
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidHandle, message)
}

fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    // A thread whose thread-locals are gone already is no reason to fail.
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

// Nothing between a lock and its release can panic halfway, so a poisoned table is whole.
fn read<T>(slots: &RwLock<Slots<T>>) -> RwLockReadGuard<'_, Slots<T>> {
    slots.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(slots: &RwLock<Slots<T>>) -> RwLockWriteGuard<'_, Slots<T>> {
    slots.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, thread};

    use proptest::prelude::*;

    use super::*;

    const KIND: u8 = 7;

    /// A table whose slots wear out after `last_generation` uses.
    fn table(last_generation: u32) -> HandleTable<u32> {
        HandleTable { last_generation, ..HandleTable::new(KIND, "number") }
    }

    fn code<T>(result: Result<T, Error>) -> Option<ErrorCode> {
        result.err().map(|error| error.code)
    }

    #[test]
    fn a_handle_is_kind_generation_and_index() {
        let table = table(LAST_GENERATION);
        let first = table.insert(Arc::new(1));
        assert_eq!(first >> 56, u64::from(KIND));
        assert_eq!(first >> 32 & u64::from(LAST_GENERATION), 1);
        table.remove(first).unwrap();
        let second = table.insert(Arc::new(2));
        assert_eq!(second as u32, first as u32, "the place is used again");
        assert_eq!(second - first, 1 << 32, "in the next generation");
    }

    #[test]
    fn zero_is_refused_and_named() {
        let error = table(LAST_GENERATION).get(0).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidHandle);
        assert_eq!(error.message, "handle 0x0 is zero; a number handle is needed");
    }

    #[test]
    fn a_handle_of_another_kind_is_refused() {
        let other = HandleTable::new(KIND + 1, "text");
        let handle = other.insert(Arc::new("x"));
        let numbers = table(LAST_GENERATION);
        numbers.insert(Arc::new(1));
        let error = numbers.get(handle).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidHandle);
        assert!(error.message.contains("another kind"), "{error}");
    }

    #[test]
    fn the_second_of_two_removes_is_refused() {
        let table = table(LAST_GENERATION);
        let handle = table.insert(Arc::new(1));
        assert_eq!(*table.remove(handle).unwrap(), 1);
        assert_eq!(code(table.remove(handle)), Some(ErrorCode::InvalidHandle));
        assert_eq!(code(table.get(handle)), Some(ErrorCode::InvalidHandle));
    }

    #[test]
    fn an_object_in_use_outlives_its_handle() {
        let table = table(LAST_GENERATION);
        let handle = table.insert(Arc::new(5));
        let used = table.get(handle).unwrap();
        drop(table.remove(handle));
        assert_eq!((*used, table.live()), (5, 0));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let table = table(3);
        let mut old = Vec::new();
        let place = table.insert(Arc::new(0)) as u32;
        old.push(u64::from(KIND) << 56 | 1 << 32 | u64::from(place));
        table.remove(old[0]).unwrap();
        for value in 1..3 {
            let handle = table.insert(Arc::new(value));
            assert_eq!(handle as u32, place);
            table.remove(handle).unwrap();
            old.push(handle);
        }
        let next = table.insert(Arc::new(9));
        assert_ne!(next as u32, place, "the worn-out place is not used again");
        for handle in old {
            assert_eq!(code(table.get(handle)), Some(ErrorCode::InvalidHandle));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32),
        Get(prop::sample::Index),
        Remove(prop::sample::Index),
        Forged(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => any::<u32>().prop_map(Step::Insert),
            3 => any::<prop::sample::Index>().prop_map(Step::Get),
            3 => any::<prop::sample::Index>().prop_map(Step::Remove),
            // Near the handles that exist, where a mistake would hit.
            1 => (0u64..=8, 0u64..=4, 0u64..64)
                .prop_map(|(kind, generation, index)| {
                    Step::Forged(kind << 56 | generation << 32 | index)
                }),
            1 => any::<u64>().prop_map(Step::Forged),
        ];
        prop::collection::vec(step, 0..if cfg!(miri) { 20 } else { 200 })
    }

    /// A failure is printed with its seed, which is kept beside this file.
    #[cfg(not(miri))]
    fn config() -> ProptestConfig {
        ProptestConfig::default()
    }

    /// Miri has no file system.
    #[cfg(miri)]
    fn config() -> ProptestConfig {
        ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 8 } else { 512 },
            ..config()
        })]

        #[test]
        fn the_table_agrees_with_a_map_whatever_is_done_to_it(
            steps in steps(),
            last_generation in 1u32..4,
        ) {
            let table = table(last_generation);
            let mut model: HashMap<u64, u32> = HashMap::new();
            let mut given: Vec<u64> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(value) => {
                        let handle = table.insert(Arc::new(value));
                        prop_assert!(!given.contains(&handle), "{handle:#x} was given out twice");
                        given.push(handle);
                        model.insert(handle, value);
                    }
                    Step::Get(at) if !given.is_empty() => {
                        let handle = *at.get(&given);
                        let found = table.get(handle).ok().map(|value| *value);
                        prop_assert_eq!(found, model.get(&handle).copied());
                    }
                    Step::Remove(at) if !given.is_empty() => {
                        let handle = *at.get(&given);
                        let found = table.remove(handle).ok().map(|value| *value);
                        prop_assert_eq!(found, model.remove(&handle));
                    }
                    Step::Forged(handle) => {
                        let found = table.get(handle).ok().map(|value| *value);
                        prop_assert_eq!(found, model.get(&handle).copied());
                    }
                    _ => {}
                }
                prop_assert_eq!(table.live(), model.len());
            }
        }
    }

    #[test]
    fn many_threads_insert_get_and_remove_without_meeting_a_foreign_object() {
        const THREADS: u32 = 8;
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let table = table(LAST_GENERATION);
        let shared = table.insert(Arc::new(u32::MAX));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let value = thread << 24 | round;
                        let handle = table.insert(Arc::new(value));
                        assert_eq!(*table.get(handle).unwrap(), value);
                        assert_eq!(*table.get(shared).unwrap(), u32::MAX);
                        assert_eq!(*table.remove(handle).unwrap(), value);
                        assert_eq!(code(table.get(handle)), Some(ErrorCode::InvalidHandle));
                    }
                });
            }
        });
        assert_eq!(table.live(), 1);
    }

    #[test]
    fn of_threads_that_remove_one_handle_at_once_exactly_one_gets_the_object() {
        let table = table(LAST_GENERATION);
        for value in 0..if cfg!(miri) { 10 } else { 500 } {
            let handle = table.insert(Arc::new(value));
            let winners: usize = thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| table.remove(handle).is_ok())).collect();
                threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
            });
            assert_eq!(winners, 1);
        }
    }
}
