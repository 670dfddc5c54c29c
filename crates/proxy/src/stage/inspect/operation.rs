//! What a request asks a model for: the body is read within its cap, and may they is asked once more, by the model.
//!
//! Only routes to models come here. The list of models is answered here too, because what a caller sees of it is a
//! question of what they may use.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use bartizan_ai::{
    Entry, Native, Refused, Request,
    bound::{self, Output},
    chat::fate::STEERING,
    dialect::EmbedRequest,
    json::{Json, Object},
    multipart::Form,
};
use bartizan_config::snapshot::{ConsumerPlan, ModelPlan, RouteAction};
use bartizan_limit::{Nanos, Waiting};
use bartizan_model::{Denial, Reason, Stage};
use bartizan_telemetry::record::ModelRecord;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body::Body;

use super::{Inspected, examine::tenant};
use crate::{
    body::{BodyWatch, Broken, Held as Room, RequestBody, Unread, unless_ended},
    exchange::{Exchange, Shared, Stop, Why},
    spoken,
    stage::limit::{Charges, Held, Most, before_model, is_budgeted},
};

/// What is asked of which model.
pub(crate) struct Asking {
    /// The model.
    pub(crate) model: Arc<ModelPlan>,
    /// The request.
    pub(crate) what: What,
    /// Input tokens as estimated.
    pub(crate) input: u64,
    /// The room that the body takes: it is kept until the call has ended, for another target may be asked.
    _room: Room,
}

/// A request to a model, read.
pub(crate) enum What {
    /// OpenAI's chat, for any provider.
    Chat(Box<Request>),
    /// OpenAI's embeddings, for any provider.
    Embeddings(Box<EmbedRequest>),
    /// A provider's own path, for a provider that speaks the same.
    Native { native: Native, body: Bytes, asked: String, form: Option<Box<(Form, HeaderValue)>> },
}

impl Inspected {
    /// Whether the body is to be read for what it asks a model.
    pub(crate) fn asks_a_model(&self) -> bool {
        self.plan.action.asks_a_model()
    }
}

/// Reads what is asked, and judges it.
pub async fn operation(x: Exchange<Inspected>) -> Result<Exchange<Inspected>, Stop> {
    let Exchange { mut shared, mut proof } = x;
    let entry = shared.dress.spoken.as_mut().and_then(|spoken| spoken.entry.take());
    let Some(entry) = entry else {
        let denial = Denial::new(Reason::NoRoute).because("no entry of models");
        return Err(Exchange { shared, proof: () }.deny(Stage::Inspect, denial));
    };
    let consumer = proof.consumer.clone();
    shared.record.model =
        Some(Box::new(ModelRecord { operation: entry.operation(), ..ModelRecord::default() }));
    if let Entry::Models | Entry::Model(_) = entry {
        return Err(list(shared, &entry, consumer.as_deref()));
    }
    let coded = proof.head.headers().get(header::CONTENT_ENCODING);
    if coded.is_some_and(|coding| coding != "identity") {
        let refused = Refused::of("", "the body is encoded: send it as it is");
        return Err(refuse(shared, &refused));
    }
    let tenant = tenant(consumer.as_deref(), &proof.head);
    let mut room = shared.core.held.nothing_of(&shared.connection.watch.held, tenant);
    let body = match read(&mut proof.body, &proof.watch, &mut room).await {
        Ok(body) => body,
        Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Inspect, denial)),
    };
    let bytes = body.len() as u64;
    shared.record.request_bytes = bytes;
    let read = match &proof.plan.action {
        RouteAction::Prompt(prompt) => prompt
            .template
            .request(&body)
            .map(|request| (request.chat.model.clone(), What::Chat(Box::new(request)))),
        _ => understand(entry, body, proof.head.headers().get(header::CONTENT_TYPE)),
    };
    let (name, what) = match read {
        Ok(read) => read,
        Err(refused) => return Err(refuse(shared, &refused)),
    };
    let model = match choose(&mut shared, &name, consumer.as_deref()) {
        Ok(model) => model,
        Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Inspect, denial)),
    };
    if let Some(record) = &mut shared.record.model {
        record.model = Some(model.name.clone());
        record.team =
            consumer.as_ref().and_then(|consumer| consumer.team.as_ref()).map(|team| team.name.clone());
    }
    let mut asking = Asking { input: what.input(bytes), model, what, _room: room };
    let output = asking.output(is_budgeted(&shared, (&proof.plan, consumer.as_ref(), &proof.head)));
    let most = Most { model: &asking.model, input: asking.input, output };
    let held = before_model(&mut shared, (&proof.plan, consumer.as_ref(), &proof.head), &most);
    match held {
        Ok(Held::Now(charges)) => shared.record.charge(charges),
        Ok(Held::At(until, slot, charges)) => wait(&mut shared, until, slot, charges).await,
        Err(denial) => return Err(Exchange { shared, proof: () }.deny(denial.reason.stage(), denial)),
    }
    proof.asking = Some(Box::new(asking));
    Ok(Exchange { shared, proof })
}

/// Waits for the slot of a call that takes many tokens.
async fn wait(shared: &mut Shared, until: Nanos, slot: Waiting, mut charges: Box<Charges>) {
    let until = shared.core.runtime.instant(until);
    let begun = shared.instant();
    shared.record.waited += until.saturating_duration_since(begun);
    // Nothing waits in a rehearsal.
    if shared.rehearsing.is_none() {
        tokio::time::sleep_until(until.into()).await;
    }
    charges.started(slot.start());
    shared.record.charge(charges);
}

impl What {
    /// Input tokens, estimated.
    fn input(&self, bytes: u64) -> u64 {
        match self {
            What::Chat(request) => bound::input_of(request, bytes),
            What::Embeddings(_) | What::Native { .. } => bound::tokens_of(bytes),
        }
    }
}

impl Asking {
    /// Whether the answer is to be streamed in OpenAI's dialect.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(&self.what, What::Chat(request) if request.chat.stream)
    }

    /// The most that the call may say. One that does not bound itself is taken for bounded by its model, where that has a
    /// bound; and is, where a budget is enforced. What only watches changes nothing of what is sent.
    fn output(&mut self, is_budgeted: bool) -> Output {
        let most = self.model.max_output;
        match &mut self.what {
            What::Embeddings(_) => Output::AtMost(0),
            What::Chat(request) => match (bound::output_of(request), most) {
                (Output::Unbounded, Some(most)) => {
                    if is_budgeted {
                        request.bound(most);
                    }
                    Output::AtMost(most.saturating_mul(request.chat.count.max(1)))
                }
                (output, _) => output,
            },
            // Nothing in a form bounds what it uses.
            What::Native { form: Some(_), .. } => Output::Unknown,
            What::Native { native, body, .. } => {
                let Ok(json) = Json::read_strict(body) else { return Output::Unknown };
                match (native.output(&json), most.and_then(|most| native.bounded(&json, most))) {
                    (Output::Unbounded, Some(bounded)) => {
                        let output =
                            Json::read(&bounded).map_or(Output::Unbounded, |json| native.output(&json));
                        if is_budgeted {
                            *body = Bytes::from(bounded);
                        }
                        output
                    }
                    (output, _) => output,
                }
            }
        }
    }
}

fn refuse(mut shared: Box<Shared>, refused: &Refused) -> Stop {
    if let Some(spoken) = &mut shared.dress.spoken {
        spoken.say_refused(refused);
    }
    let denial = Denial::new(Reason::OperationUnsupported).because(refused.message.clone());
    Exchange { shared, proof: () }.deny(Stage::Inspect, denial)
}

/// Reads the whole body; its cap and its pace are the body's own.
async fn read(body: &mut RequestBody, watch: &BodyWatch, room: &mut Room) -> Result<Bytes, Denial> {
    let overloaded = |unread: Unread<Broken>| {
        Denial::new(Reason::Overloaded).because(unread.overload().unwrap_or_default())
    };
    let mut all = Vec::new();
    let mut body = std::mem::replace(body, RequestBody::Empty);
    loop {
        let next = poll_fn(|cx| unless_ended(room, cx, |cx| Pin::new(&mut body).poll_frame(cx))).await;
        let frame = match next {
            Err(bytes) => return Err(overloaded(Unread::Ended(bytes))),
            Ok(None) => break,
            Ok(Some(frame)) => frame,
        };
        match frame {
            Ok(frame) => {
                let data = frame.data_ref().map(|data| &**data).unwrap_or_default();
                if !room.take(data.len()) {
                    return Err(overloaded(Unread::NoRoom));
                }
                all.extend_from_slice(data);
            }
            Err(_) => {
                return Err(match watch.broken() {
                    Some(Broken::Refused(reason)) => Denial::new(reason),
                    _ => Denial::new(Reason::MalformedRequest).because("the body broke off"),
                });
            }
        }
    }
    room.is_read();
    Ok(Bytes::from(all))
}

/// The model's name and the request.
fn understand(
    entry: Entry,
    body: Bytes,
    content_type: Option<&HeaderValue>,
) -> Result<(String, What), Refused> {
    match entry {
        Entry::Chat => {
            let request = Request::read(&body)?;
            Ok((request.chat.model.clone(), What::Chat(Box::new(request))))
        }
        Entry::Embeddings => {
            let request = EmbedRequest::read(&body)?;
            Ok((request.model.clone(), What::Embeddings(Box::new(request))))
        }
        Entry::Native(native) => {
            let form = match content_type.filter(|kind| native.takes_forms() && Form::is_one(kind.as_bytes()))
            {
                Some(kind) => {
                    let text =
                        kind.to_str().map_err(|_| Refused::of("", "the type of the body is not ASCII"))?;
                    Some(Box::new((Form::read(text, &body)?, kind.clone())))
                }
                None => None,
            };
            let asked = match (&native.model, &form) {
                (Some(model), _) => model.clone(),
                (None, Some(form)) => form.0.model.clone(),
                (None, None) => named(&body)?,
            };
            Ok((asked.clone(), What::Native { native, body, asked, form }))
        }
        Entry::Models | Entry::Model(_) => Err(Refused::of("", "a list has no body")),
    }
}

/// The model that a native body names. Read strictly: two readers must not find two models in it.
fn named(body: &[u8]) -> Result<String, Refused> {
    let json =
        Json::read_strict(body).map_err(|error| Refused::of("", format!("the body is not JSON: {error}")))?;
    // Another gateway behind this one may know such fields.
    if let Some(field) = STEERING.into_iter().find(|field| !json.get(field).is_null()) {
        return Err(Refused::of(field, format!("`{field}` is not the caller's to choose")));
    }
    let model = json.get("model").words().map(str::to_owned);
    model.ok_or_else(|| Refused::of("model", "`model` names a model"))
}

fn choose(
    shared: &mut Shared,
    name: &str,
    consumer: Option<&ConsumerPlan>,
) -> Result<Arc<ModelPlan>, Denial> {
    let shown: String = name.chars().filter(|character| !character.is_control()).take(200).collect();
    let Some(model) = shared.snapshot().models.get(name).cloned() else {
        if let Some(spoken) = &mut shared.dress.spoken {
            let message = format!("the model `{shown}` does not exist");
            spoken.say(Reason::ModelUnknown, "model_not_found", message);
        }
        return Err(Denial::new(Reason::ModelUnknown).because(format!("no model `{shown}`")));
    };
    if may_use(&model, consumer) {
        return Ok(model);
    }
    if let Some(spoken) = &mut shared.dress.spoken {
        let message = format!("the model `{shown}` may not be used with this key");
        spoken.say(Reason::OperationNotAllowed, "model_not_allowed", message);
    }
    Err(Denial::new(Reason::OperationNotAllowed).because(format!("model `{shown}`")).by(format!(
        "Model/{}",
        model.name
    )
    .into()))
}

/// Whether a caller may use a model: by its roles, and by the models that the consumer and its team are held to.
fn may_use(model: &ModelPlan, consumer: Option<&ConsumerPlan>) -> bool {
    let by_role = model.roles.is_empty()
        || consumer.is_some_and(|consumer| model.roles.iter().any(|role| consumer.roles.contains(role)));
    let by_name =
        consumer.is_none_or(|consumer| consumer.models.is_empty() || consumer.models.contains(&model.name));
    let team = consumer.and_then(|consumer| consumer.team.as_ref());
    let by_team = team.is_none_or(|team| team.models.is_empty() || team.models.contains(&model.name));
    by_role && by_name && by_team
}

/// `GET /v1/models`: those that the caller may use, and nothing of who serves them.
fn list(mut shared: Box<Shared>, entry: &Entry, consumer: Option<&ConsumerPlan>) -> Stop {
    let one = |model: &ModelPlan| {
        Json::from(
            Object::new()
                .with("id", &*model.name)
                .with("object", "model")
                .with("created", 0_u64)
                .with("owned_by", "gateway"),
        )
    };
    if let Entry::Model(name) = entry {
        return match choose(&mut shared, name, consumer) {
            Ok(model) => {
                let answer = spoken::json(StatusCode::OK, one(&model).to_bytes());
                Stop { shared, why: Why::Answered(Box::new(answer)) }
            }
            Err(denial) => Exchange { shared, proof: () }.deny(Stage::Inspect, denial),
        };
    }
    let models = shared.snapshot().models.models.iter().filter(|model| may_use(model, consumer));
    let data: Vec<Json> = models.map(|model| one(model)).collect();
    let body = Json::from(Object::new().with("object", "list").with("data", data)).to_bytes();
    let answer = spoken::json(StatusCode::OK, body);
    Stop { shared, why: Why::Answered(Box::new(answer)) }
}
