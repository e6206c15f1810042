//! Registrars, elements and users together, under faults.

mod world;

use std::time::Duration;

use anycast_pool::user::What;
use anycast_pool::wire::State;
use anycast_pool::{Random, Time, element};
use world::{Client, LATENCY, World};

const SECOND: Duration = Duration::from_secs(1);

/// The registrar's window of coalescing, and the ways there and back.
const PUSH: Duration = Duration::from_millis(20 + 4);

/// Time for a hung element to be noticed: 1.5 × keep-alive interval + timeout, and the push.
const KEEP_ALIVE: Duration = Duration::from_millis(7_500 + 2_000 + 24);

fn settled(registrars: usize, elements: usize, users: usize, seed: u64) -> World {
    let mut world = World::new(registrars, elements, users, seed);
    world.run(5 * SECOND);
    assert_agreed(&world);
    world
}

/// Each registrar that lives knows each element that works, and so does each user.
fn assert_agreed(world: &World) {
    for (number, host) in world.registrars.iter().enumerate() {
        if host.machine.is_some() {
            assert_eq!(world.up_at(number), world.working(), "at registrar {number}");
        }
    }
    for number in 0..world.users.len() {
        assert_eq!(world.fresh_for(number), world.working(), "for user {number}");
    }
}

/// When each user heard of an element's new state, after `since`.
fn heard(world: &World, id: u32, state: State, since: Time) -> Vec<Duration> {
    (0..world.users.len())
        .map(|number| {
            let told = world.changes.iter().find(|(user, at, change)| {
                *user == number
                    && *at >= since
                    && change.id.0 == id
                    && matches!(change.what, What::State(now, _) if now == state)
            });
            told.map(|(_, at, _)| at.since(since)).unwrap_or(Duration::MAX)
        })
        .collect()
}

#[test]
fn all_find_each_other() {
    settled(2, 5, 10, 1);
}

#[test]
fn a_killed_element_is_known_to_all_users_within_a_push() {
    for seed in 1..20 {
        let mut world = settled(2, 5, 20, seed);
        let killed = world.now;
        world.kill_element(2);
        world.run(PUSH);
        let worst = heard(&world, 3, State::Down, killed).into_iter().max().unwrap();
        assert!(worst <= PUSH, "{worst:?} with seed {seed}");
        assert_agreed(&world);
        // It comes back as the same.
        let started = world.now;
        world.start_element(2);
        world.run(SECOND);
        let worst = heard(&world, 3, State::Up, started).into_iter().max().unwrap();
        assert!(worst <= PUSH + 4 * LATENCY, "{worst:?} with seed {seed}");
        assert_agreed(&world);
    }
}

#[test]
fn a_hung_or_cut_off_element_is_known_within_a_round_of_keep_alives() {
    for seed in 1..10 {
        let mut world = settled(2, 3, 5, seed);
        let since = world.now;
        if seed % 2 == 0 {
            world.hang_element(0, true);
        } else {
            world.elements[0].cut_off = true;
        }
        world.run(KEEP_ALIVE);
        let worst = heard(&world, 1, State::Down, since).into_iter().max().unwrap();
        assert!(worst <= KEEP_ALIVE, "{worst:?} with seed {seed}");
        assert_agreed(&world);
        world.hang_element(0, false);
        world.elements[0].cut_off = false;
        world.run(30 * SECOND);
        assert_agreed(&world);
    }
}

#[test]
fn one_users_failure_is_soon_known_to_all() {
    let mut world = settled(1, 3, 10, 3);
    let since = world.now;
    world.hang_element(0, true);
    while world.users[0].pick(world.now, &world.handle.clone(), &[]).unwrap().id.0 != 1 {}
    let handle = world.handle.clone();
    world.user(0, anycast_pool::user::Input::Failed(&handle, anycast_pool::ElementId(1)));
    // The keep-alive that the report causes is awaited for 2 s.
    world.run(2 * SECOND + PUSH);
    let worst = heard(&world, 1, State::Down, since).into_iter().max().unwrap();
    assert!(worst <= 2 * SECOND + PUSH, "{worst:?}");
}

#[test]
fn users_never_notice_that_one_of_two_registrars_is_killed() {
    for seed in 1..10 {
        let mut world = settled(2, 5, 10, seed);
        let changes = world.changes.len();
        for round in 0..10 {
            let victim = round % 2;
            world.kill_registrar(victim);
            for _ in 0..20 {
                world.run(Duration::from_millis(50));
                (0..10).for_each(|user| assert_eq!(world.request(user), Some(1)));
            }
            assert_agreed(&world);
            world.start_registrar(victim);
            for _ in 0..100 {
                world.run(Duration::from_millis(50));
                (0..10).for_each(|user| assert_eq!(world.request(user), Some(1)));
            }
            assert_agreed(&world);
        }
        assert_eq!(world.changes[changes..], [], "users saw something with seed {seed}");
    }
}

#[test]
fn the_only_registrar_loses_nothing_by_a_restart() {
    let mut world = settled(1, 5, 5, 4);
    for _ in 0..50 {
        world.kill_registrar(0);
        world.run(Duration::from_millis(200));
        (0..5).for_each(|user| assert_eq!(world.request(user), Some(1)));
        world.start_registrar(0);
        world.run(2 * SECOND);
        (0..5).for_each(|user| assert_eq!(world.request(user), Some(1)));
        world.run(3 * SECOND);
        assert_agreed(&world);
    }
}

/// The control of the one above: without a journal the registrar knows nothing at first, but users go on with what they know.
#[test]
fn without_a_journal_elements_and_users_find_each_other_again() {
    let mut world = settled(1, 5, 5, 4);
    world.keeps_journal = false;
    world.kill_registrar(0);
    world.run(Duration::from_millis(200));
    world.start_registrar(0);
    assert!(world.up_at(0).is_empty());
    for _ in 0..100 {
        world.run(Duration::from_millis(50));
        (0..5).for_each(|user| assert_eq!(world.request(user), Some(1)));
    }
    assert_agreed(&world);
}

#[test]
fn a_drained_element_is_not_used_and_a_standby_one_last() {
    let mut world = settled(2, 3, 3, 5);
    world.element(0, element::Input::Drain(true));
    world.element(1, element::Input::Standby(true));
    world.run(SECOND);
    for user in 0..3 {
        let handle = world.handle.clone();
        let now = world.now;
        let first = world.users[user].pick(now, &handle, &[]).unwrap().id;
        let second = world.users[user].pick(now, &handle, &[first]).unwrap().id;
        assert_eq!((first.0, second.0), (3, 2));
        assert_eq!(world.fresh_for(user).into_iter().collect::<Vec<_>>(), [3]);
    }
    world.element(0, element::Input::Drain(false));
    world.element(1, element::Input::Standby(false));
    world.run(SECOND);
    assert_agreed(&world);
}

/// Whatever happens to connections and processes: once it is quiet, all agree. And as long as one registrar and one element live,
/// users find one that works, soon after each fault by their own experience alone.
#[test]
fn after_any_history_all_agree() {
    for seed in 1..40 {
        let mut world = settled(3, 6, 6, seed);
        let mut random = Random::new(seed);
        for _ in 0..60 {
            let (registrar, element) = (random.below(3) as usize, random.below(6) as usize);
            match random.below(9) {
                0 => world.kill_registrar(registrar),
                1 | 2 if world.registrars[registrar].machine.is_none() => world.start_registrar(registrar),
                // One element lives throughout.
                3 if element != 0 => world.kill_element(element),
                4 if world.elements[element].machine.is_none() => world.start_element(element),
                5 if element != 0 => {
                    let hung = world.elements[element].hung;
                    world.hang_element(element, !hung);
                }
                6 if element != 0 => world.elements[element].cut_off ^= true,
                7 => world.lose_connection(Client::Element(element), registrar),
                _ => world.lose_connection(Client::User(element), registrar),
            }
            for _ in 0..10 {
                world.run(Duration::from_millis(random.below(300)));
                (0..6).for_each(|user| assert!(world.request(user).is_some(), "seed {seed}"));
            }
        }
        for number in 0..3 {
            if world.registrars[number].machine.is_none() {
                world.start_registrar(number);
            }
        }
        // Who is still hung or cut off comes back too.
        for number in 0..6 {
            world.elements[number].cut_off = false;
            world.hang_element(number, false);
        }
        // Silence that is noticed by a registration, three times T2, and the longest pause.
        world.run(300 * SECOND);
        assert_agreed(&world);
    }
}

#[test]
fn one_seed_is_one_history() {
    let history = || {
        let mut world = settled(2, 4, 4, 9);
        world.kill_registrar(0);
        world.kill_element(1);
        world.run(20 * SECOND);
        world.start_registrar(0);
        world.run(20 * SECOND);
        world.changes
    };
    assert_eq!(history(), history());
}
