//! What the sample API sells: orders and users, in memory, seeded so that the first call shows something.
//!
//! One lock around a small map is right here: the sample serves one demonstration, not a benchmark.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

/// All orders and users.
#[derive(Debug)]
pub(super) struct Shop {
    orders: Mutex<BTreeMap<u64, Order>>,
}

#[derive(Debug)]
struct Order {
    customer: String,
    item: String,
    quantity: u64,
    unit_price_cents: u64,
    status: &'static str,
}

/// Why an order was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unacceptable {
    /// The document is not an order; says what is wrong.
    Invalid(String),
    /// The shop holds as many orders as it may.
    Full,
}

impl Shop {
    /// The shop as it opens.
    pub(super) fn seeded() -> Shop {
        let orders = SEED.iter().map(|&(id, customer, item, quantity, unit_price_cents, status)| {
            let (customer, item) = (customer.to_owned(), item.to_owned());
            (id, Order { customer, item, quantity, unit_price_cents, status })
        });
        Shop { orders: Mutex::new(orders.collect()) }
    }

    /// All orders, oldest first.
    pub(super) fn orders(&self) -> Value {
        self.locked().iter().map(|(id, order)| order.to_json(*id)).collect()
    }

    /// One order.
    pub(super) fn order(&self, id: u64) -> Option<Value> {
        self.locked().get(&id).map(|order| order.to_json(id))
    }

    /// Takes an order; returns its id and what was stored.
    pub(super) fn take(&self, document: &[u8]) -> Result<(u64, Value), Unacceptable> {
        let order = Order::from_json(document).map_err(Unacceptable::Invalid)?;
        let mut orders = self.locked();
        if orders.len() >= ORDERS_MAX {
            return Err(Unacceptable::Full);
        }
        let id = orders.last_key_value().map_or(1, |(last, _)| last + 1);
        let stored = order.to_json(id);
        orders.insert(id, order);
        Ok((id, stored))
    }

    /// All users.
    pub(super) fn users(&self) -> Value {
        USERS.iter().map(|user| user_json(*user)).collect()
    }

    /// One user.
    pub(super) fn user(&self, id: u64) -> Option<Value> {
        USERS.iter().find(|user| user.0 == id).map(|user| user_json(*user))
    }

    /// A poisoned lock still holds whole orders: an insert is the only change.
    fn locked(&self) -> MutexGuard<'_, BTreeMap<u64, Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn from_json(document: &[u8]) -> Result<Order, String> {
        let document: Value =
            serde_json::from_slice(document).map_err(|error| format!("the body is not JSON: {error}"))?;
        let Value::Object(fields) = document else {
            return Err("the body is not a JSON object".to_owned());
        };
        if let Some(unknown) =
            fields.keys().find(|name| !["customer", "item", "quantity"].contains(&name.as_str()))
        {
            return Err(format!(
                "`{unknown}` is not a field of an order; send `item`, `quantity` and `customer`"
            ));
        }
        let text = |name: &str| match fields.get(name) {
            Some(Value::String(text)) if !text.is_empty() && text.len() <= TEXT_BYTES_MAX => Ok(text.clone()),
            Some(_) => Err(format!("`{name}` must be a text of 1 to {TEXT_BYTES_MAX} bytes")),
            None => Err(format!("`{name}` is missing")),
        };
        let quantity = match fields.get("quantity") {
            None => 1,
            Some(given) => given
                .as_u64()
                .filter(|quantity| (1..=QUANTITY_MAX).contains(quantity))
                .ok_or_else(|| format!("`quantity` must be a whole number from 1 to {QUANTITY_MAX}"))?,
        };
        let customer = if fields.contains_key("customer") { text("customer")? } else { "guest".to_owned() };
        Ok(Order { customer, item: text("item")?, quantity, unit_price_cents: 1_990, status: "received" })
    }

    fn to_json(&self, id: u64) -> Value {
        json!({
            "id": id,
            "customer": self.customer,
            "item": self.item,
            "quantity": self.quantity,
            "totalCents": self.quantity * self.unit_price_cents,
            "status": self.status,
        })
    }
}

fn user_json((id, name, email): (u64, &str, &str)) -> Value {
    json!({ "id": id, "name": name, "email": email })
}

/// A demonstration left running must not fill memory.
const ORDERS_MAX: usize = 1_000;
const QUANTITY_MAX: u64 = 1_000;
const TEXT_BYTES_MAX: usize = 100;

const SEED: [(u64, &str, &str, u64, u64, &str); 4] = [
    (1, "ada", "arrow slit, oak frame", 12, 4_900, "shipped"),
    (2, "grace", "portcullis chain, 8 m", 1, 18_500, "packed"),
    (3, "alan", "spiral stair, left-handed", 2, 94_000, "received"),
    (4, "ada", "watch lantern", 4, 1_990, "received"),
];

const USERS: [(u64, &str, &str); 3] = [
    (1, "Ada Lovelace", "ada@example.com"),
    (2, "Grace Hopper", "grace@example.com"),
    (3, "Alan Turing", "alan@example.com"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_gets_the_next_id_and_is_found_under_it() {
        let shop = Shop::seeded();
        let (id, stored) = shop.take(br#"{"item":"drawbridge","quantity":2,"customer":"grace"}"#).unwrap();
        assert_eq!(id, 5);
        assert_eq!(stored["totalCents"], 3_980);
        assert_eq!(shop.order(5), Some(stored));
        assert_eq!(shop.order(6), None);
    }

    #[test]
    fn what_is_not_an_order_is_refused_with_its_reason() {
        let cases: [(&str, &str); 8] = [
            ("", "not JSON"),
            ("[1]", "not a JSON object"),
            ("{}", "`item` is missing"),
            (r#"{"item":""}"#, "`item` must be"),
            (r#"{"item":"x","quantity":0}"#, "`quantity` must be"),
            (r#"{"item":"x","quantity":1001}"#, "`quantity` must be"),
            (r#"{"item":"x","quantity":1.5}"#, "`quantity` must be"),
            (r#"{"item":"x","price":1}"#, "`price` is not a field"),
        ];
        for (document, expected) in cases {
            match Shop::seeded().take(document.as_bytes()) {
                Err(Unacceptable::Invalid(why)) => assert!(why.contains(expected), "{document}: {why}"),
                other => panic!("{document}: {other:?}"),
            }
        }
        assert!(Shop::seeded().take(br#"{"item":"x","quantity":1000}"#).is_ok());
    }

    #[test]
    fn a_full_shop_takes_no_more_orders() {
        let shop = Shop::seeded();
        while shop.locked().len() < ORDERS_MAX {
            shop.take(br#"{"item":"x"}"#).unwrap();
        }
        assert_eq!(shop.take(br#"{"item":"x"}"#), Err(Unacceptable::Full));
    }
}
