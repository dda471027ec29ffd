//! `decant access`: who may do what.

mod token;

use std::time::{Duration, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use decant_model::access::Role;
use decant_model::{ModelName, PrincipalName};
use decant_proto::access::v1::who_am_i_response::KnownBy;
use decant_proto::access::v1::{
    AddPrincipalRequest, Principal, RemovePrincipalRequest, Role as WireRole, WhoAmIResponse,
};
use prost_types::Timestamp;

use self::token::Token;
use crate::arguments::duration;
use crate::arguments::request::RequestArguments;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Facts, Table};
use crate::output::tone::{Palette, Tone};
use crate::output::{json, names, units};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Let somebody call: a person or a service. A token is shown once, and kept nowhere.
    Add(AddArguments),
    /// Let somebody call no more: their token and certificates are refused from now on.
    Remove {
        /// Their name.
        name: PrincipalName,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        request: RequestArguments,
    },
    /// List everybody who was added. Grants in the configuration of a service are not among them.
    List,
    /// Show who you are to the registry, and what you may do.
    Whoami,
}

/// What `access add` takes.
#[derive(Args)]
pub(crate) struct AddArguments {
    /// Their name, by which the audit log calls them.
    name: PrincipalName,
    /// What they may do: a viewer sees everything and asks for scores, a publisher also trains and pushes versions, an
    /// operator is a viewer who releases versions, an admin may everything.
    #[arg(long, value_parser = roles())]
    role: Role,
    /// A model that the role is for, of several one each; unless given, all models and the cluster as a whole.
    #[arg(id = "model", long = "model", value_name = "MODEL")]
    models: Vec<ModelName>,
    /// An identity in their certificate, of several one each: spiffe://... or another URI, dns:NAME or cn:NAME.
    #[arg(long = "identity", value_name = "IDENTITY")]
    identities: Vec<String>,
    /// Make a token by which they are known.
    #[arg(long)]
    token: bool,
    /// When they may call no more, such as 90d from now; never unless given.
    #[arg(long, value_name = "DURATION", value_parser = duration::span)]
    expires: Option<Duration>,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    /// Only check, and say who would be added.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    request: RequestArguments,
}

fn roles() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::name)).try_map(|name| name.parse::<Role>())
}

/// Carries out `decant access`.
pub(crate) async fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Add(arguments) => add(context, arguments).await,
        Command::Remove {
            name,
            reason,
            request,
        } => remove(context, name, reason, request).await,
        Command::List => list(context).await,
        Command::Whoami => who_am_i(context).await,
    }
}

async fn add(context: &Context, arguments: AddArguments) -> Result<Exit, Failure> {
    let dry_run = arguments.dry_run;
    if !arguments.token && arguments.identities.is_empty() {
        return Err(Failure::usage(
            "nobody could be known by that: --token makes a token, --identity names a certificate",
        ));
    }
    if arguments.token && !dry_run && context.output.is_names() {
        return Err(Failure::usage(
            "the token would not be shown: use `-o table`, `-o json` or `-o yaml`",
        ));
    }
    // A dry run draws one too: what is checked is then the same.
    let token = arguments.token.then(Token::draw).transpose()?;
    let expires = arguments.expires.map(from_now).transpose()?;
    let stamp = arguments.request.stamp();
    let request = AddPrincipalRequest {
        name: arguments.name.into(),
        role: WireRole::from(arguments.role).into(),
        models: arguments.models.into_iter().map(String::from).collect(),
        token_digest: token
            .as_ref()
            .map(|token| token.digest().to_string())
            .unwrap_or_default(),
        identities: arguments.identities,
        expire_time: expires,
        dry_run,
        issued_by: stamp.issued_by,
        reason: arguments.reason,
        request_id: stamp.request_id,
    };
    let principal = context.registry.add_principal(request).await?;
    let token = token.filter(|_| !dry_run);
    let revealed = token.as_ref().map(Token::reveal);
    context.output.named(
        [&principal.name],
        || json::added_principal(&principal, revealed, dry_run),
        |palette| added(&principal, revealed, dry_run).render(palette),
    )?;
    if dry_run {
        context.output.advise("nobody was added");
        return Ok(Exit::Ok);
    }
    if revealed.is_some() {
        context
            .output
            .advise("keep the token now: nobody can show it again");
    }
    context.output.advise(&format!(
        "`decant access remove {}` undoes it",
        principal.name
    ));
    Ok(Exit::Ok)
}

fn from_now(span: Duration) -> Result<Timestamp, Failure> {
    let end = SystemTime::now().checked_add(span);
    let end = end.ok_or_else(|| Failure::usage("--expires is too long"))?;
    Ok(end.into())
}

fn added(principal: &Principal, token: Option<&str>, dry_run: bool) -> Facts {
    let verb = if dry_run { "would add" } else { "added" };
    Facts::default()
        .with(verb, &principal.name)
        .with("role", names::role(principal.role))
        .with("models", models(&principal.models))
        .with_some("identities", &principal.identities.join(", "))
        .with("expires", end(principal.expire_time.as_ref()))
        .with_some("token", token.unwrap_or_default())
}

async fn remove(
    context: &Context,
    name: PrincipalName,
    reason: String,
    request: RequestArguments,
) -> Result<Exit, Failure> {
    let stamp = request.stamp();
    let request = RemovePrincipalRequest {
        name: name.into(),
        issued_by: stamp.issued_by,
        reason,
        request_id: stamp.request_id,
    };
    let removed = context.registry.remove_principal(request).await?;
    context.output.named(
        [&removed.name],
        || json::principal(&removed),
        |_| {
            format!(
                "{} is removed: what it shows is refused from now on\n",
                removed.name
            )
        },
    )?;
    let new_token = match removed.token_digest.as_str() {
        "" => "",
        _ => ", with a new token",
    };
    context
        .output
        .advise(&format!("`{}` undoes it{new_token}", addition(&removed)));
    Ok(Exit::Ok)
}

/// The command that adds somebody again.
fn addition(principal: &Principal) -> String {
    let mut command = format!(
        "decant access add {} --role {}",
        principal.name,
        names::role(principal.role)
    );
    for model in &principal.models {
        command.push_str(&format!(" --model {model}"));
    }
    for identity in &principal.identities {
        // The only kind that may have spaces.
        let quote = if identity.contains(' ') { "'" } else { "" };
        command.push_str(&format!(" --identity {quote}{identity}{quote}"));
    }
    if !principal.token_digest.is_empty() {
        command.push_str(" --token");
    }
    command
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let principals = context.registry.list_principals().await?;
    context.output.named(
        principals.iter().map(|principal| &principal.name),
        || json::list(&principals, json::principal),
        |palette| table(&principals, palette),
    )?;
    if principals.is_empty() {
        context.output.advise(
            "nobody was added yet; `decant access add NAME --role ROLE --token` lets somebody call",
        );
    }
    Ok(Exit::Ok)
}

fn table(principals: &[Principal], palette: Palette) -> String {
    let mut table = Table::new([
        "NAME",
        "ROLE",
        "MODELS",
        "KNOWN BY",
        "EXPIRES (UTC)",
        "+ADDED (UTC)",
        "+ADDED BY",
        "+TOKEN DIGEST",
    ]);
    for principal in principals {
        table.row([
            Cell::from(&principal.name),
            Cell::from(names::role(principal.role)),
            Cell::from(models(&principal.models)),
            Cell::from(known_by(principal)),
            end(principal.expire_time.as_ref()),
            Cell::from(units::time(principal.create_time.as_ref())),
            Cell::from(&principal.issued_by),
            Cell::from(&principal.token_digest),
        ]);
    }
    table.render(palette)
}

async fn who_am_i(context: &Context) -> Result<Exit, Failure> {
    let me = context.registry.who_am_i().await?;
    context.output.named(
        [&me.name],
        || json::who_am_i(&me),
        |palette| myself(&me).render(palette),
    )?;
    Ok(Exit::Ok)
}

fn myself(me: &WhoAmIResponse) -> Facts {
    let known_by = match &me.known_by {
        Some(KnownBy::Token(_)) => Cell::from("a token"),
        Some(KnownBy::Identity(identity)) => Cell::from(format!("certificate of {identity}")),
        Some(KnownBy::Nothing(_)) => {
            Cell::new("nothing: the registry asks nobody who they are", Tone::Bad)
        }
        None => Cell::from("something that this command does not know"),
    };
    Facts::default()
        .with("name", &me.name)
        .with("role", names::role(me.role))
        .with("models", models(&me.models))
        .with("known by", known_by)
        .with("expires", end(me.expire_time.as_ref()))
}

fn models(models: &[String]) -> String {
    match models {
        [] => "all".to_owned(),
        models => models.join(", "),
    }
}

fn known_by(principal: &Principal) -> String {
    let token = Some("token").filter(|_| !principal.token_digest.is_empty());
    let identities = principal.identities.iter().map(String::as_str);
    let all: Vec<&str> = token.into_iter().chain(identities).collect();
    all.join(", ")
}

/// When somebody may call no more; bad news once that is so.
fn end(time: Option<&Timestamp>) -> Cell {
    let Some(time) = time else {
        return Cell::from("never");
    };
    let now = Timestamp::from(SystemTime::now());
    if (time.seconds, time.nanos) <= (now.seconds, now.nanos) {
        Cell::new(format!("{} (over)", units::time(Some(time))), Tone::Bad)
    } else {
        Cell::from(units::time(Some(time)))
    }
}
