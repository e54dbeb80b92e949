//! Commands about users, roles and access rules. Source: redpanda.md 3.1.1.

use kafka_protocol::ResponseError;

use super::super::acls::{Acl, AclFilter};
use super::super::command::Applied;
use super::super::roles::{ROLE_PRINCIPAL, RoleMember};
use super::super::users::{ScramCredential, ScramMechanism};
use super::{State, kafka};
use crate::rpc::Refusal;

fn unknown_role(name: &str) -> Refusal {
    Refusal::NotFound(format!("there is no role '{name}'"))
}

impl State {
    pub(super) fn create_user(
        &mut self,
        name: &str,
        credential: &ScramCredential,
    ) -> Result<Applied, Refusal> {
        if self.users.contains_key(name) {
            return Err(kafka(ResponseError::DuplicateResource, format!("user '{name}' exists already")));
        }
        Ok(self.upsert_user(name, credential))
    }

    pub(super) fn upsert_user(&mut self, name: &str, credential: &ScramCredential) -> Applied {
        let credentials = self.users.entry(name.to_owned()).or_default();
        credentials.insert(credential.mechanism, credential.clone());
        Applied::Done
    }

    pub(super) fn delete_user(
        &mut self,
        name: &str,
        mechanism: Option<ScramMechanism>,
    ) -> Result<Applied, Refusal> {
        let unknown = || kafka(ResponseError::ResourceNotFound, format!("there is no user '{name}'"));
        let credentials = self.users.get_mut(name).ok_or_else(unknown)?;
        match mechanism {
            Some(mechanism) => {
                credentials.remove(&mechanism).ok_or_else(unknown)?;
            }
            None => credentials.clear(),
        }
        if credentials.is_empty() {
            self.users.remove(name);
        }
        Ok(Applied::Done)
    }

    pub(super) fn create_role(&mut self, name: &str) -> Result<Applied, Refusal> {
        if self.roles.contains_key(name) {
            return Err(kafka(ResponseError::DuplicateResource, format!("role '{name}' exists already")));
        }
        self.roles.insert(name.to_owned(), Default::default());
        Ok(Applied::Done)
    }

    pub(super) fn delete_role(&mut self, name: &str, delete_acls: bool) -> Result<Applied, Refusal> {
        self.roles.remove(name).ok_or_else(|| unknown_role(name))?;
        if delete_acls {
            let principal = format!("{ROLE_PRINCIPAL}{name}");
            self.acls.retain(|acl| acl.principal != principal);
        }
        Ok(Applied::Done)
    }

    pub(super) fn update_role(
        &mut self,
        name: &str,
        add: &[RoleMember],
        remove: &[RoleMember],
        create: bool,
    ) -> Result<Applied, Refusal> {
        if let Some(both) = add.iter().find(|member| remove.contains(member)) {
            return Err(Refusal::Invalid(format!("'{}' is to be added and removed", both.name)));
        }
        if create {
            self.roles.entry(name.to_owned()).or_default();
        }
        let members = self.roles.get_mut(name).ok_or_else(|| unknown_role(name))?;
        let added = add.iter().filter(|member| members.insert((*member).clone())).cloned().collect();
        let removed = remove.iter().filter(|member| members.remove(*member)).cloned().collect();
        Ok(Applied::RoleMembers { added, removed })
    }

    pub(super) fn delete_acls(&mut self, filters: &[AclFilter]) -> Applied {
        let matching = |filter: &AclFilter| -> Vec<Acl> {
            self.acls.iter().filter(|acl| filter.matches(acl)).cloned().collect()
        };
        let removed: Vec<Vec<Acl>> = filters.iter().map(matching).collect();
        self.acls.retain(|acl| !filters.iter().any(|filter| filter.matches(acl)));
        Applied::RemovedAcls(removed)
    }

    /// The roles of a user, by name.
    pub fn roles_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a str> {
        let has = move |member: &RoleMember| member.principal_type == "User" && member.name == user;
        self.roles.iter().filter(move |(_, members)| members.iter().any(has)).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::*;

    fn credential(mechanism: ScramMechanism, key: u8) -> ScramCredential {
        let (salt, stored_key, server_key) = (vec![1], vec![key], vec![3]);
        ScramCredential { mechanism, salt, iterations: 4096, stored_key, server_key }
    }

    fn user(name: &str) -> RoleMember {
        RoleMember { principal_type: "User".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_user_is_created_once_and_goes_with_its_last_credential() {
        let mut state = State::default();
        let create = |key| Command::CreateUser {
            name: "ann".to_owned(),
            credential: credential(ScramMechanism::Sha256, key),
        };
        state.apply(&create(1)).unwrap();
        assert!(state.apply(&create(2)).is_err());
        let (name, credential) = ("ann".to_owned(), credential(ScramMechanism::Sha512, 5));
        state.apply(&Command::UpsertUser { name, credential }).unwrap();
        let delete = |mechanism| Command::DeleteUser { name: "ann".to_owned(), mechanism };
        state.apply(&delete(Some(ScramMechanism::Sha256))).unwrap();
        assert!(state.apply(&delete(Some(ScramMechanism::Sha256))).is_err());
        state.apply(&delete(Some(ScramMechanism::Sha512))).unwrap();
        assert!(state.users.is_empty());
    }

    #[test]
    fn a_role_tells_who_came_and_went() {
        let mut state = State::default();
        let update = |add: &[&str], remove: &[&str], create| Command::UpdateRole {
            name: "r".to_owned(),
            add: add.iter().map(|name| user(name)).collect(),
            remove: remove.iter().map(|name| user(name)).collect(),
            create,
        };
        assert!(matches!(state.apply(&update(&["a"], &[], false)), Err(Refusal::NotFound(_))));
        state.apply(&update(&["a", "b"], &[], true)).unwrap();
        assert!(state.apply(&update(&["a"], &["a"], false)).is_err());
        let applied = state.apply(&update(&["b", "c"], &["a", "x"], false)).unwrap();
        assert_eq!(applied, Applied::RoleMembers { added: vec![user("c")], removed: vec![user("a")] });
        assert_eq!(state.roles_of("c").collect::<Vec<_>>(), ["r"]);
        assert_eq!(state.roles_of("a").count(), 0);
        assert!(state.apply(&Command::CreateRole { name: "r".to_owned() }).is_err());
    }

    #[test]
    fn a_role_can_take_its_rules_with_it() {
        let mut state = State::default();
        state.apply(&Command::CreateRole { name: "r".to_owned() }).unwrap();
        let acl = |principal: &str| Acl {
            resource_type: 2,
            resource_name: "t".to_owned(),
            pattern_type: 3,
            principal: principal.to_owned(),
            host: "*".to_owned(),
            operation: 3,
            permission: 3,
        };
        let acls = vec![acl("RedpandaRole:r"), acl("User:r")];
        state.apply(&Command::CreateAcls { acls }).unwrap();
        state.apply(&Command::DeleteRole { name: "r".to_owned(), delete_acls: true }).unwrap();
        assert_eq!(state.acls.iter().map(|acl| acl.principal.as_str()).collect::<Vec<_>>(), ["User:r"]);
    }
}
