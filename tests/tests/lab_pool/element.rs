//! Services of `anycast run` as elements: what registrars are told of them, and what subscribers learn.

use std::net::SocketAddr;

use anycast_pool::PoolHandle;
use anycast_pool::wire::{State, StatusFlags};
use anycast_tests::lab::daemon::{DaemonOptions, ServiceOptions};
use anycast_tests::lab::farm::{ROUTER_ADDRESS, SERVICE};
use anycast_tests::lab::{Daemon, DnsResponder, Farm, FarmOptions, wait_until};
use anycast_user::control::Command;
use anycast_user::pool::{PoolUser, PoolUserOptions};
use anycast_user::telemetry::status::State as ServiceState;

use crate::support::{PATIENCE, Registrar, run, until};

/// Servers with a DNS service and a daemon each, and registrars on the router. Processes go before what they run in.
struct Rig {
    daemons: Vec<Daemon>,
    responders: Vec<DnsResponder>,
    registrars: Vec<Registrar>,
    farm: Farm,
    options: Vec<DaemonOptions>,
}

impl Rig {
    fn new(registrars: usize) -> Self {
        let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
        let registrars: Vec<Registrar> = (0..registrars)
            .map(|number| {
                let address = SocketAddr::from((ROUTER_ADDRESS, 3863 + number as u16));
                Registrar::start_in(&farm.router, address, "").unwrap()
            })
            .collect();
        let responders = farm.servers.iter().map(|server| DnsResponder::start(server).unwrap()).collect();
        let named: Vec<String> =
            registrars.iter().map(|registrar| format!("\"{}\"", registrar.address)).collect();
        let options: Vec<DaemonOptions> = farm
            .servers
            .iter()
            .map(|server| DaemonOptions {
                tables: format!(
                    "[pool]\nregistrars = [{}]\nname = \"dns\"\naddress = \"{}\"\n",
                    named.join(", "),
                    server.address
                ),
                ..DaemonOptions::with(ServiceOptions::new("dns", SERVICE))
            })
            .collect();
        let daemons = farm
            .servers
            .iter()
            .zip(&options)
            .map(|(server, options)| Daemon::start(server, options).unwrap())
            .collect();
        let rig = Self { daemons, responders, registrars, farm, options };
        for daemon in &rig.daemons {
            rig.wait_registered(daemon);
        }
        rig
    }

    fn wait_registered(&self, daemon: &Daemon) {
        wait_until("the service is registered with every registrar", PATIENCE, || {
            daemon.status().is_ok_and(|status| {
                status.pool.first().is_some_and(|element| {
                    element.registrations.len() == self.registrars.len()
                        && element.registrations.iter().all(|registration| registration.registered)
                })
            })
        })
        .unwrap();
    }

    /// Runs `test` with a subscriber, on the router.
    fn subscribed<T: Send>(&self, test: impl AsyncFnOnce(&View) -> T + Send) -> T {
        let addresses: Vec<SocketAddr> = self.registrars.iter().map(|registrar| registrar.address).collect();
        self.farm.router.run(|| {
            run(async move {
                let options = PoolUserOptions::new(addresses.into_iter().map(Into::into));
                let user = PoolUser::connect(options);
                user.resolve("dns").await.unwrap();
                test(&View(user)).await
            })
        })
    }

    fn id(&self, daemon: usize) -> String {
        self.daemons[daemon].status().unwrap().pool[0].id.clone()
    }
}

/// What a subscriber sees.
struct View(PoolUser);

impl View {
    fn of(&self, id: &str) -> Option<(State, StatusFlags)> {
        let snapshot = self.0.snapshot(&PoolHandle::from("dns"))?;
        let element = snapshot.elements.into_iter().find(|element| element.id.to_string() == id)?;
        Some((element.state, element.flags))
    }

    fn is_up(&self, id: &str) -> bool {
        self.of(id)
            .is_some_and(|(state, flags)| state == State::Up && !flags.contains(StatusFlags::TOMBSTONE))
    }
}

#[test]
fn a_dead_service_is_down_for_subscribers_and_back_when_it_lives() {
    need_lab!("a_dead_service_is_down_for_subscribers_and_back_when_it_lives");
    let mut rig = Rig::new(1);
    let ids = [rig.id(0), rig.id(1)];
    rig.responders[0].kill().unwrap();
    rig.subscribed(async |view| {
        until("the first is down", || view.of(&ids[0]).is_some() && !view.is_up(&ids[0])).await;
        // The control: the other, of which nothing is wrong.
        assert!(view.is_up(&ids[1]));
    });
    assert!(!rig.daemons[0].status().unwrap().pool[0].wanted);
    rig.responders[0] = DnsResponder::start(&rig.farm.servers[0]).unwrap();
    rig.subscribed(async |view| until("the first is up again", || view.is_up(&ids[0])).await);
    // Without a word from the daemon it is down as well.
    rig.daemons[0].kill().unwrap();
    rig.subscribed(async |view| {
        until("the first is down", || view.of(&ids[0]).is_some() && !view.is_up(&ids[0])).await;
        assert!(view.is_up(&ids[1]));
    });
    // It comes back as who it was.
    rig.daemons[0] = Daemon::start(&rig.farm.servers[0], &rig.options[0]).unwrap();
    rig.wait_registered(&rig.daemons[0]);
    assert_eq!(rig.id(0), ids[0]);
}

#[test]
fn a_drained_service_leaves_its_pool_and_a_stopped_one_too() {
    need_lab!("a_drained_service_leaves_its_pool_and_a_stopped_one_too");
    let mut rig = Rig::new(1);
    let ids = [rig.id(0), rig.id(1)];
    let gone =
        |view: &View, id: &str| view.of(id).is_none_or(|(_, flags)| flags.contains(StatusFlags::TOMBSTONE));
    rig.subscribed(async |view| {
        assert!(!gone(view, &ids[0]));
        rig.daemons[0].request(&Command::Drain { service: Some("dns".to_owned()) }).unwrap();
        until("the first is gone", || gone(view, &ids[0])).await;
        assert!(!gone(view, &ids[1]));
        rig.daemons[0].request(&Command::Undrain { service: None }).unwrap();
        until("the first is back", || view.is_up(&ids[0])).await;
    });
    let stopped = rig.daemons.remove(1);
    assert!(stopped.terminate().unwrap().success());
    rig.subscribed(async |view| {
        until("the second is gone", || gone(view, &ids[1])).await;
        assert!(view.is_up(&ids[0]));
    });
}

#[test]
fn a_service_on_standby_is_up_and_the_last_that_is_asked() {
    need_lab!("a_service_on_standby_is_up_and_the_last_that_is_asked");
    let rig = Rig::new(1);
    let ids = [rig.id(0), rig.id(1)];
    // Who does not own the address may fall silent.
    let ready =
        |daemon: &Daemon| daemon.service("dns").is_ok_and(|service| service.state == ServiceState::Ready);
    wait_until("one waits for the other's end", PATIENCE, || {
        rig.daemons.iter().filter(|daemon| ready(daemon)).count() == 1
    })
    .unwrap();
    let number = rig.daemons.iter().position(ready).unwrap();
    rig.daemons[number].request(&Command::Standby { service: "dns".to_owned() }).unwrap();
    rig.subscribed(async |view| {
        until("it is on standby", || {
            view.of(&ids[number]).is_some_and(|(_, flags)| flags.contains(StatusFlags::STANDBY))
        })
        .await;
        assert!(view.is_up(&ids[number]), "standby is not down");
        for _ in 0..8 {
            assert_eq!(view.0.pick("dns", &[]).unwrap().id.to_string(), ids[1 - number]);
        }
        let other = view.0.pick("dns", &[]).unwrap().id;
        assert_eq!(view.0.pick("dns", &[other]).unwrap().id.to_string(), ids[number]);
    });
}

#[test]
fn a_registrar_that_is_gone_is_an_alarm_and_changes_nothing_else() {
    need_lab!("a_registrar_that_is_gone_is_an_alarm_and_changes_nothing_else");
    let mut rig = Rig::new(2);
    let ids = [rig.id(0), rig.id(1)];
    assert_eq!(rig.daemons[0].status().unwrap().alarms, Vec::<String>::new());
    let gone = rig.registrars.remove(1).address;
    wait_until("there is an alarm", PATIENCE, || {
        rig.daemons[0].status().is_ok_and(|status| {
            status.alarms.iter().any(|alarm| alarm.contains(&gone.to_string()) && alarm.contains("reached"))
        })
    })
    .unwrap();
    rig.subscribed(async |view| assert!(view.is_up(&ids[0]) && view.is_up(&ids[1])));
    // It comes back, and with it the registration.
    rig.registrars.push(Registrar::start_in(&rig.farm.router, gone, "").unwrap());
    rig.wait_registered(&rig.daemons[0]);
    wait_until("the alarm is over", PATIENCE, || {
        rig.daemons[0].status().is_ok_and(|status| status.alarms.is_empty())
    })
    .unwrap();
}
