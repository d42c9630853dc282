// What llama.cpp makes of GGUF files: node llama_cpp.mjs NODE_FOLDER < REQUESTS > ANSWERS, both a list in JSON.
// texts become ids; after each of the prompts (ids) the scores of the next token go into logits_file, float32, one row
// a prompt, and what it continues with, likeliest token first, up to new_tokens; conversations become ids by the file's
// own template. One thread: llama.cpp's threads spin, and beside other work two take minutes.
import {readFileSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const requests = JSON.parse(readFileSync(0, "utf-8"));
const modules = createRequire(pathToFileURL(process.argv[2] + "/").href);
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(modules.resolve("node-llama-cpp")).href);
const {Template} = await import(pathToFileURL(modules.resolve("@huggingface/jinja")).href);

const logger = (level, message) => console.error(`${level}: ${message}`);
const llama = await getLlama({build: "never", gpu: false, logLevel: LlamaLogLevel.warn, logger});

function likeliest(values) {
    let best = 0;
    for (let token = 1; token < values.length; token++) if (values[token] > values[best]) best = token;
    return best;
}

async function scores(sequence, tokens, vocabSize) {
    const [last, before] = [tokens.at(-1), tokens.slice(0, -1)];
    const out = await sequence.controlledEvaluate([...before, [last, {generateNext: {logits: true}}]]);
    const found = new Float32Array(vocabSize);
    for (const [token, value] of out.at(-1).next.logits) found[token] = value;
    return found;
}

async function answer(request) {
    const model = await llama.loadModel({modelPath: request.file});
    const options = {contextSize: request.context, threads: 1, batchSize: request.context, flashAttention: false};
    if (request.cache) options.experimentalKvCacheKeyType = options.experimentalKvCacheValueType = request.cache;
    const context = await model.createContext(options);
    const sequence = context.getSequence();
    const rows = [], continued = [];
    for (const prompt of request.prompts ?? []) {
        await sequence.clearHistory();
        let found = await scores(sequence, prompt, request.vocab_size);
        rows.push(Buffer.from(found.buffer));
        const text = [];
        while (text.length < (request.new_tokens ?? 0)) {
            text.push(likeliest(found));
            if (model.isEogToken(text.at(-1)) || text.length === request.new_tokens) break;
            found = await scores(sequence, text.slice(-1), request.vocab_size);
        }
        continued.push(text);
    }
    writeFileSync(request.logits_file, Buffer.concat(rows));
    const {ggml, chat_template: template} = model.fileInfo.metadata.tokenizer;
    const spelt = (id) => id == null ? "" : ggml.tokens[id];
    const render = (messages) => new Template(template).render({
        messages, add_generation_prompt: true, bos_token: spelt(ggml.bos_token_id)
    });
    const found = {
        ids: (request.texts ?? []).map((text) => Array.from(model.tokenize(text, false))),
        continued,
        conversations: (request.conversations ?? []).map((each) => Array.from(model.tokenize(render(each), true))),
        ends: [ggml.eos_token_id, ggml.eot_token_id].map((id) => id != null && model.isEogToken(id)),
        begin: model.tokens.bos
    };
    await context.dispose();
    await model.dispose();
    return found;
}

const answers = [];
for (const request of requests) answers.push(await answer(request));
process.stdout.write(JSON.stringify(answers), () => process.exit(0));
