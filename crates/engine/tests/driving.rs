//! The drivers: exact times, order, hosts, and stalls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::clock::{START_UNIX_MS, unix_ms};
use hopwise_engine::{Clock, Pace, Queue, Simulation, Span, Stalled, Time, World, host};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

/// A world whose events are messages sent to a task at their time.
struct Bells {
    queue: Queue<u32>,
    ring: mpsc::UnboundedSender<(u32, Time)>,
}

impl World for Bells {
    fn settle(&mut self) {}
    fn next_at(&self) -> Option<Time> {
        self.queue.next_at()
    }
    fn run_until(&mut self, limit: Time, clock: &Clock) -> bool {
        let mut woke_at = None;
        while let Some(at) = self.queue.next_at() {
            if woke_at.is_some_and(|woke| at > woke) {
                break;
            }
            let Some((at, bell)) = self.queue.pop_before(limit) else { break };
            clock.set(at);
            self.ring.send((bell, at)).expect("the task listens");
            woke_at = Some(at);
        }
        woke_at.is_some()
    }
}

fn bells(times_ns: &[u64]) -> (Bells, mpsc::UnboundedReceiver<(u32, Time)>) {
    let (ring, heard) = mpsc::unbounded_channel();
    let mut queue = Queue::new();
    for (number, at_ns) in (0..).zip(times_ns) {
        queue.push(Time::from_nanos(*at_ns), number);
    }
    (Bells { queue, ring }, heard)
}

#[test]
fn a_task_reads_the_exact_time_of_the_event_that_woke_it() {
    let times_ns = [0, 1, 300_000, 999_999, 1_000_000, 1_300_001, 7_654_321, 86_400_000_000_007];
    let (world, mut heard) = bells(&times_ns);
    let count = times_ns.len();
    let read = Simulation::new(1)
        .run(world, move || async move {
            let start = Instant::now();
            let mut read = Vec::new();
            for _ in 0..count {
                let (_, at) = heard.recv().await.expect("a bell");
                let tokio_ns = u64::try_from(start.elapsed().as_nanos()).expect("fits");
                assert_eq!(hopwise_engine::now(), at);
                read.push(tokio_ns);
            }
            read
        })
        .expect("ends");
    assert_eq!(read, times_ns);
}

#[test]
fn timers_and_events_interleave_by_time() {
    let (world, mut heard) = bells(&[500_000, 2_500_000, 3_000_000, 9_999_999]);
    let order = Simulation::new(1)
        .run(world, move || async move {
            let order = Rc::new(RefCell::new(Vec::new()));
            let timers = order.clone();
            tokio::task::spawn_local(async move {
                for step in 1..=4_u64 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    assert_eq!(hopwise_engine::now(), Time::ZERO + Span::from_millis(step * 2));
                    timers.borrow_mut().push(format!("timer {}", step * 2));
                }
            });
            for _ in 0..4 {
                let (bell, at) = heard.recv().await.expect("a bell");
                order.borrow_mut().push(format!("bell {bell} {}", at.as_nanos()));
            }
            order.take()
        })
        .expect("ends");
    assert_eq!(
        order,
        [
            "bell 0 500000",
            "timer 2",
            "bell 1 2500000",
            "bell 2 3000000",
            "timer 4",
            "timer 6",
            "timer 8",
            "bell 3 9999999"
        ]
    );
}

#[test]
fn nested_tasks_inherit_their_host_and_die_with_it() {
    let seen = Simulation::new(1)
        .run((), || async {
            let pod = host::create("pod");
            let seen = Rc::new(RefCell::new(Vec::new()));
            let inner = seen.clone();
            host::spawn_on(pod, async move {
                let nested = tokio::spawn(async { host::current() });
                assert_eq!(nested.await.expect("runs"), host::current());
                loop {
                    inner.borrow_mut().push(host::name(host::current()).to_string());
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            tokio::time::sleep(Duration::from_millis(25)).await;
            host::kill(pod);
            assert!(!host::is_alive(pod));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(host::current(), host::HostId::ROOT);
            seen.take()
        })
        .expect("ends");
    assert_eq!(seen, ["pod", "pod", "pod"]);
}

#[test]
fn a_simulation_that_cannot_end_says_so() {
    let stalled = Simulation::new(1)
        .limit(Span::from_secs(60))
        .run((), std::future::pending::<()>)
        .expect_err("stalls");
    let limit = Time::ZERO + Span::from_secs(60);
    assert_eq!(stalled, Stalled::Waiting { at: limit, limit });
}

#[test]
fn a_task_that_never_waits_is_named_with_the_instant() {
    let stalled = Simulation::new(1)
        .run((), || async {
            let eager = host::create("eager");
            tokio::time::sleep(Duration::from_secs(5)).await;
            host::spawn_on(eager, async {
                loop {
                    tokio::task::yield_now().await;
                }
            })
            .await
        })
        .expect_err("stalls");
    let Stalled::Busy { at, host, .. } = stalled else { panic!("{stalled}") };
    assert_eq!((at, &*host), (Time::ZERO + Span::from_secs(5), "eager"));
}

#[test]
fn tasks_that_wake_each_other_for_ever_end_the_simulation_and_the_next_one_runs() {
    fn play(rounds: u32) -> Result<(), Stalled> {
        Simulation::new(1).run((), move || async move {
            let (ping, pong) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
            let (hears, answers) = (Rc::clone(&ping), Rc::clone(&pong));
            host::spawn(async move {
                loop {
                    hears.notified().await;
                    answers.notify_one();
                }
            });
            for _ in 0..rounds {
                ping.notify_one();
                pong.notified().await;
            }
        })
    }
    let stalled = play(u32::MAX).expect_err("stalls");
    assert!(matches!(stalled, Stalled::Busy { at: Time::ZERO, .. }), "{stalled}");
    assert_eq!(play(50_000), Ok(()), "many turns are no reason");
}

#[test]
fn many_tasks_may_have_many_turns_at_one_instant() {
    let ended = Simulation::new(1).run((), || async {
        let tasks: Vec<_> = (0..20_000)
            .map(|_| {
                host::spawn(async {
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("ends");
        }
    });
    assert_eq!(ended, Ok(()));
}

#[test]
fn a_panic_of_any_task_ends_the_simulation() {
    fn ends_with(pace: Pace, main: fn()) -> String {
        let run = move || {
            Simulation::new(1).pace(pace).run((), move || async move {
                main();
                std::future::pending::<()>().await;
            })
        };
        let panic = std::panic::catch_unwind(run).expect_err("panics");
        match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => (*panic.downcast::<&str>().expect("a message")).to_owned(),
        }
    }
    let main: fn() = || panic!("main {}", 1);
    let task: fn() = || {
        host::spawn_on(host::create("pod"), async { panic!("task {}", 2) });
    };
    let raw: fn() = || {
        tokio::spawn(async { panic!("raw {}", 3) });
    };
    for pace in [Pace::Virtual, Pace::Wall] {
        assert_eq!(ends_with(pace, main), "main 1");
        assert_eq!(ends_with(pace, task), "task 2");
        assert!(ends_with(pace, raw).contains("a spawned task panicked"));
    }
    assert_eq!(Simulation::new(1).run((), || async { 7 }), Ok(7));
}

#[test]
fn wall_time_paces_the_same_events() {
    let (world, mut heard) = bells(&[0, 1_500_000, 4_000_000]);
    let read = Simulation::new(1)
        .pace(Pace::Wall)
        .run(world, move || async move {
            let start = Instant::now();
            let mut read = Vec::new();
            for _ in 0..3 {
                let (_, at) = heard.recv().await.expect("a bell");
                assert!(start.elapsed() + Duration::from_millis(1) >= Duration::from(at - Time::ZERO));
                read.push(at.as_nanos());
            }
            read
        })
        .expect("ends");
    assert_eq!(read, [0, 1_500_000, 4_000_000]);
}

#[test]
fn wall_time_goes_on_where_virtual_time_ends() {
    let hour = Duration::from_secs(3600);
    let (world, mut heard) = bells(&[3_600_000_500_000, 3_600_020_500_000]);
    let before = machine_unix_ms();
    let (first, machine) = Simulation::new(1)
        .pace(Pace::VirtualThenWall)
        .run(world, move || async move {
            let start = Instant::now();
            assert!(unix_ms() < before, "what is valid from the start is valid for the machine's programs");
            tokio::time::sleep(hour).await;
            let (_, first) = heard.recv().await.expect("a bell");
            let began = machine_now();
            hopwise_engine::keep_wall_time().await;
            let behind = machine_unix_ms() - unix_ms();
            assert!((-5..1000).contains(&behind), "dates are the machine's, but for {behind} ms");
            let (_, second) = heard.recv().await.expect("a bell");
            assert!(start.elapsed() >= hour + Duration::from_millis(20) && second > first);
            (first, began.elapsed())
        })
        .expect("ends");
    assert_eq!(first.as_nanos(), 3_600_000_500_000);
    // The second bell is 20 ms after the first, at which wall time begins, to the millisecond of tokio's timers.
    assert!(machine >= Duration::from_millis(18), "{machine:?}");
}

/// A world with one bell, which says too when it has carried out what a task has asked for.
struct Asked {
    bells: Bells,
    asked: Rc<Cell<bool>>,
    done: mpsc::UnboundedSender<()>,
}

impl World for Asked {
    fn settle(&mut self) {
        if self.asked.take() {
            self.done.send(()).expect("the task listens");
        }
    }
    fn next_at(&self) -> Option<Time> {
        self.bells.next_at()
    }
    fn run_until(&mut self, limit: Time, clock: &Clock) -> bool {
        self.bells.run_until(limit, clock)
    }
}

#[cfg(unix)]
#[test]
fn what_a_task_asks_for_that_a_descriptor_woke_is_carried_out_at_once_in_wall_time() {
    // The bell wakes a task that makes a descriptor ready for another one: it becomes ready while the driver is about to sleep.
    let (bells, mut heard) = bells(&[5_000_000]);
    let (done, mut carried_out) = mpsc::unbounded_channel();
    let asked = Rc::new(Cell::new(false));
    let world = Asked { bells, asked: asked.clone(), done };
    let in_time = Simulation::new(1)
        .pace(Pace::Wall)
        .run(world, move || async move {
            let (mut near, mut far) = tokio::net::UnixStream::pair().expect("two sockets");
            host::spawn(async move {
                far.read_exact(&mut [0]).await.expect("a byte");
                asked.set(true);
            });
            heard.recv().await.expect("a bell");
            near.write_all(&[0]).await.expect("is sent");
            timeout(Duration::from_secs(20), carried_out.recv()).await.is_ok()
        })
        .expect("ends");
    assert!(in_time, "the driver sleeps although a task has asked for something");
}

/// A task that never waits; how many turns it has had. It gives up after seconds.
fn never_waits() -> Rc<Cell<u64>> {
    const TURNS_MAX: u64 = 3_000_000;
    let turns = Rc::new(Cell::new(0));
    let counted = Rc::clone(&turns);
    host::spawn(async move {
        loop {
            counted.set(counted.get() + 1);
            assert!(counted.get() < TURNS_MAX, "nobody else gets on");
            tokio::task::yield_now().await;
        }
    });
    turns
}

#[test]
fn events_happen_in_wall_time_while_a_task_never_waits() {
    // All are due soon after the start; each wakes a task, and then the driver waits for all tasks to wait.
    let times_ns: Vec<u64> = (1..=100).collect();
    let (world, mut heard) = bells(&times_ns);
    let turns = Simulation::new(1)
        .pace(Pace::Wall)
        .run(world, move || async move {
            let turns = never_waits();
            // A machine that is held up for a moment must not count.
            heard.recv().await.expect("a bell");
            let before = turns.get();
            for _ in 1..100 {
                heard.recv().await.expect("a bell");
            }
            turns.get() - before
        })
        .expect("ends");
    assert!(turns > 1_000, "the task that never waits had its turns: {turns}");
    assert!(turns < 99 * 2_000, "{turns} turns for 99 bells");
}

#[cfg(unix)]
#[test]
fn timers_and_signals_are_heard_in_wall_time_while_a_task_never_waits() {
    use tokio::signal::unix::{SignalKind, signal};
    let (world, mut heard) = bells(&[3_000_000]);
    let ended = Simulation::new(1).pace(Pace::Wall).run(world, move || async move {
        never_waits();
        tokio::time::sleep(Duration::from_millis(2)).await;
        heard.recv().await.expect("a bell");
        assert!(hopwise_engine::now() >= Time::from_nanos(3_000_000));
        let mut sent = signal(SignalKind::user_defined1()).expect("can be heard");
        let own = std::process::id().to_string();
        let status = std::process::Command::new("kill").args(["-USR1", &own]).status();
        assert!(status.expect("there is kill").success());
        sent.recv().await
    });
    assert_eq!(ended, Ok(Some(())));
}

#[test]
fn virtual_time_starts_at_a_fixed_date_whatever_ran_before() {
    let start = |pace| Simulation::new(1).pace(pace).run((), || async { unix_ms() }).expect("ends");
    assert!(start(Pace::Wall) >= machine_unix_ms() - 60_000);
    assert_eq!(start(Pace::Virtual), START_UNIX_MS);
}

#[expect(clippy::disallowed_methods, reason = "compares simulated dates with the machine's")]
fn machine_unix_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis().try_into().expect("fits")
}

#[expect(clippy::disallowed_methods, reason = "compares wall time with virtual time")]
fn machine_now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn the_log_is_fixed_by_inputs_and_seed() {
    fn run(seed: u64) -> String {
        Simulation::new(seed)
            .run((), || async {
                use rand::RngExt;
                let drawn: u64 = hopwise_engine::stream("dice").random();
                hopwise_engine::notable("dice.thrown", "dice", drawn.to_string());
                hopwise_engine::trace_hash()
            })
            .expect("ends")
    }
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
