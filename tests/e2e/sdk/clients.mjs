// The npm client of OpenAI, unchanged, against the gateway: only base URL and key differ.
import OpenAI from "openai";

const SAYS = "Grüße, world!";
const client = new OpenAI({ baseURL: `${process.env.GATEWAY}/v1`, apiKey: process.env.GATEWAY_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "hi" }];

function expect(have, want, what) {
  if (have !== want) throw new Error(`${what}: ${have} instead of ${want}`);
}

for (const model of ["gpt", "claude", "gemini", "mistral", "qwen", "llama"]) {
  const answer = await client.chat.completions.create({ model, messages });
  expect(answer.choices[0].message.content, SAYS, model);
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  expect(text, SAYS, `${model} streamed`);
  console.log(`ok: openai (npm) to ${model}`);
}
const embedded = await client.embeddings.create({ model: "gpt", input: ["a", "b"] });
expect(embedded.data[1].embedding.join(), "0.5,1", "embeddings");
expect((await client.responses.create({ model: "gpt", input: "hi" })).output_text, SAYS, "responses");
console.log("ok: openai (npm): embeddings, responses");
