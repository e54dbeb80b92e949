//! Members that behave at random: what must hold whatever they do.

use proptest::prelude::*;

use super::*;

/// What a simulated client of a member does next.
#[derive(Clone, Debug)]
enum Action {
    /// Joins, with its id if it has one.
    Join(usize),
    /// Syncs; if it leads, with an assignment for every member.
    Sync(usize),
    Heartbeat(usize),
    Commit(usize),
    /// Commits for the generation before the one it knows.
    CommitLate(usize),
    Leave(usize),
    /// Its process is replaced by one that knows nothing.
    Restart(usize),
    Pass(u64),
    /// Writes are held back, or done again.
    Hold(bool),
    /// Another broker takes over.
    Reload,
}

fn action(clients: usize) -> impl Strategy<Value = Action> {
    let client = 0..clients;
    prop_oneof![
        6 => client.clone().prop_map(Action::Join),
        6 => client.clone().prop_map(Action::Sync),
        3 => client.clone().prop_map(Action::Heartbeat),
        3 => client.clone().prop_map(Action::Commit),
        1 => client.clone().prop_map(Action::CommitLate),
        1 => client.clone().prop_map(Action::Leave),
        1 => client.prop_map(Action::Restart),
        4 => (0u64..12_000).prop_map(Action::Pass),
        1 => any::<bool>().prop_map(Action::Hold),
        1 => Just(Action::Reload),
    ]
}

/// A client: its answers so far, and what it waits for.
#[derive(Clone, Debug, Default)]
struct Client {
    instance: Option<String>,
    member: String,
    joined: Option<JoinAnswer>,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
    /// The coordinator is the one that it joined at. Another one may know an older generation.
    current: bool,
}

/// What has been seen, and must not be contradicted.
struct Seen {
    /// By generation and member.
    assignments: BTreeMap<(i32, String), Bytes>,
    /// The newest of each member.
    generations: BTreeMap<String, i32>,
    acknowledged: i64,
    next_offset: i64,
    leaders: BTreeMap<i32, String>,
    commits: BTreeMap<Ticket, i64>,
}

struct World {
    driver: Driver,
    clients: Vec<Client>,
    seen: Seen,
}

impl World {
    fn new(clients: usize) -> World {
        // Two of the clients are static members.
        let client = |index: usize| Client {
            instance: (index < 2).then(|| format!("instance-{index}")),
            ..Client::default()
        };
        let settings = Settings { members_max: 10, ..settings() };
        World {
            driver: Driver::with(settings),
            clients: (0..clients).map(client).collect(),
            seen: Seen {
                assignments: BTreeMap::new(),
                generations: BTreeMap::new(),
                acknowledged: -1,
                next_offset: 0,
                leaders: BTreeMap::new(),
                commits: BTreeMap::new(),
            },
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Join(index) if self.clients[*index].joining.is_none() => {
                let client = &self.clients[*index];
                let request = JoinRequest {
                    member: client.member.clone(),
                    instance: client.instance.clone(),
                    id_required_first: true,
                    ..consumer()
                };
                let ticket = self.driver.ask_join(request);
                self.clients[*index].joining = Some(ticket);
            }
            Action::Sync(index) if self.clients[*index].syncing.is_none() => {
                let Some(joined) = self.clients[*index].joined.clone() else { return };
                let value = format!("{}/{}", joined.generation, self.driver.tickets);
                let assignments: Vec<(&str, &str)> =
                    joined.members.iter().map(|member| (member.id.as_str(), value.as_str())).collect();
                let ticket = self.driver.ask_sync(&joined, &assignments);
                self.clients[*index].syncing = Some(ticket);
            }
            Action::Heartbeat(index) => {
                if let Some(joined) = self.clients[*index].joined.clone() {
                    self.driver.heartbeat(&joined);
                }
            }
            Action::Commit(index) => self.commit(*index, 0),
            Action::CommitLate(index) if self.clients[*index].current => self.commit(*index, 1),
            Action::Leave(index) => {
                let member = std::mem::take(&mut self.clients[*index].member);
                self.driver.leave(&member);
                self.clients[*index].joined = None;
            }
            Action::Restart(index) => {
                let instance = self.clients[*index].instance.clone();
                self.clients[*index] = Client { instance, ..Client::default() };
            }
            Action::Pass(millis) => self.driver.pass(Duration::from_millis(*millis)),
            Action::Hold(hold) => {
                self.driver.writes = if *hold { None } else { Some(Ok(())) };
                self.driver.settle();
            }
            Action::Reload => {
                self.driver.writes = Some(Ok(()));
                self.driver.settle();
                self.hear();
                self.driver.reload();
                // A generation that no member got an assignment in was never written; its number comes again.
                self.seen.generations.clear();
                self.seen.leaders.clear();
                for client in &mut self.clients {
                    (client.joining, client.syncing, client.current) = (None, None, false);
                }
            }
            Action::Join(_) | Action::Sync(_) | Action::CommitLate(_) => {}
        }
        self.hear();
        self.check();
    }

    fn commit(&mut self, index: usize, behind: i32) {
        let Some(joined) = self.clients[index].joined.clone() else { return };
        self.seen.next_offset += 1;
        let offset = self.seen.next_offset;
        let caller = Caller {
            generation: joined.generation - behind,
            instance: self.clients[index].instance.clone(),
            ..caller(&joined)
        };
        let request = commit(&self.driver.played.now, caller, offset);
        let ticket = self.driver.ticket();
        self.driver.played.machine.commit(self.driver.played.now, request, ticket);
        self.driver.settle();
        if behind > 0 {
            let answer = self.driver.answers.remove(&ticket);
            assert!(matches!(answer, Some(Answer::Done(Err(_)))), "a late commit is refused: {answer:?}");
        } else {
            self.seen.commits.insert(ticket, offset);
        }
    }

    /// Gives the clients their answers.
    fn hear(&mut self) {
        for index in 0..self.clients.len() {
            if let Some(answer) = self.clients[index].joining.and_then(|ticket| self.driver.joined(ticket)) {
                self.hear_join(index, answer);
            }
            if let Some(answer) = self.clients[index].syncing.and_then(|ticket| self.driver.synced(ticket)) {
                self.hear_sync(index, &answer);
            }
        }
        let tickets: Vec<Ticket> = self.seen.commits.keys().copied().collect();
        for ticket in tickets {
            if let Some(Answer::Done(result)) = self.driver.answers.remove(&ticket) {
                let offset = self.seen.commits.remove(&ticket).unwrap();
                if result.is_ok() {
                    self.seen.acknowledged = self.seen.acknowledged.max(offset);
                }
            }
        }
    }

    fn hear_join(&mut self, index: usize, answer: JoinAnswer) {
        let client = &mut self.clients[index];
        client.joining = None;
        match answer.error {
            None => {
                client.member.clone_from(&answer.member);
                let seen = self.seen.generations.entry(answer.member.clone()).or_default();
                assert!(answer.generation >= *seen, "a member's generations rise");
                *seen = answer.generation;
                if answer.member == answer.leader && !answer.skip_assignment {
                    let leader = self.seen.leaders.entry(answer.generation);
                    let leader = leader.or_insert_with(|| answer.member.clone());
                    assert_eq!(*leader, answer.member, "a generation has one leader that assigns");
                }
                client.joined = Some(answer);
                client.current = true;
            }
            Some(ResponseError::MemberIdRequired) => client.member = answer.member,
            Some(ResponseError::UnknownMemberId | ResponseError::FencedInstanceId) => {
                client.member.clear();
                client.joined = None;
            }
            Some(ResponseError::RebalanceInProgress) => {}
            Some(other) => panic!("{other:?}"),
        }
    }

    fn hear_sync(&mut self, index: usize, answer: &SyncAnswer) {
        let client = &mut self.clients[index];
        client.syncing = None;
        let Some(joined) = &client.joined else { return };
        if answer.error.is_none() {
            let key = (joined.generation, joined.member.clone());
            let known = self.seen.assignments.entry(key).or_insert_with(|| answer.assignment.clone());
            assert_eq!(*known, answer.assignment, "a member has one assignment in a generation");
        }
    }

    fn check(&self) {
        let committed = self.driver.committed();
        assert!(committed >= self.seen.acknowledged, "{committed} is before {}", self.seen.acknowledged);
        let Some(group) = self.driver.played.machine.describe("g") else { return };
        let mut instances: Vec<&String> =
            group.members.iter().filter_map(|member| member.instance.as_ref()).collect();
        let count = instances.len();
        instances.sort();
        instances.dedup();
        assert_eq!(instances.len(), count, "an instance id has one member");
        // A rebalance may have nobody left but one who was given an id and is yet to use it.
        let fits = match group.state {
            "Empty" => group.members.is_empty(),
            "PreparingRebalance" => true,
            _ => !group.members.is_empty(),
        };
        assert!(fits, "{} with {} members", group.state, group.members.len());
    }

    /// Everybody behaves from now on: the group must become stable.
    fn heal(&mut self) {
        self.act(&Action::Hold(false));
        for _ in 0..40 {
            for index in 0..self.clients.len() {
                self.act(&Action::Heartbeat(index));
                let stale = self.clients[index]
                    .joined
                    .clone()
                    .is_none_or(|joined| self.driver.heartbeat(&joined).is_some());
                if stale {
                    self.act(&Action::Join(index));
                }
            }
            self.act(&Action::Pass(1000));
            for index in 0..self.clients.len() {
                if self.clients[index].joining.is_none() {
                    self.act(&Action::Sync(index));
                }
            }
        }
        let group = self.driver.played.machine.describe("g").unwrap();
        assert_eq!((group.state, group.members.len()), ("Stable", self.clients.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_assigned_twice_or_lost_and_the_group_heals(
        actions in prop::collection::vec(action(4), 0..150),
    ) {
        let mut world = World::new(4);
        for action in &actions {
            world.act(action);
        }
        world.heal();
    }
}
