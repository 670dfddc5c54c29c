//! The demo's models: the sample model, and every provider whose key is in the environment.

use std::{env, net::SocketAddr};

use bartizan_ai::{Provider, provider::PROVIDERS};

use crate::command::models::{Wanted, documents};

/// Providers whose usual variable is set.
pub(super) fn found() -> Vec<Provider> {
    let is_set = |provider: &Provider| {
        let value = provider.key_variable().and_then(env::var_os);
        value.is_some_and(|value| !value.is_empty())
    };
    PROVIDERS.into_iter().filter(is_set).collect()
}

/// The documents: a route, the sample model, the providers.
pub(super) fn write(sample: SocketAddr, providers: &[Provider]) -> String {
    let mut text = format!(
        "{ROUTE}---\n{}",
        documents(&Wanted {
            name: "sample-model",
            provider: Provider::Compatible,
            key_env: None,
            region: None,
            url: Some(&format!("http://{sample}")),
            models: &["sample".to_owned()],
        })
    );
    let region = env::var("DASHSCOPE_REGION").ok();
    for provider in providers {
        let models: Vec<String> = provider.usual_models().iter().map(|model| (*model).to_owned()).collect();
        text.push_str("---\n");
        text.push_str(&documents(&Wanted {
            name: &provider.word().to_ascii_lowercase(),
            provider: *provider,
            key_env: provider.key_variable(),
            region: region.as_deref().filter(|region| provider.regions().contains(region)),
            url: None,
            models: &models,
        }));
    }
    text
}

const ROUTE: &str = "\
# Models: OpenAI's paths to all of them, and the providers' own paths.
apiVersion: management.v1
kind: Route
metadata: { name: models }
spec:
  rules:
    - matches:
        - { path: { value: /v1 } }
        - { path: { value: /v1beta } }
        - { path: { value: /api/v1 } }
      backendRefs: [{ kind: Models }]
      bodyBytes: 16MiB
";
