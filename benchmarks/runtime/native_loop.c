/* A loop around llama.cpp as a C program would have it, to compare speeds with.

   native_loop MODEL THREADS CONTEXT UBATCH KEY_TYPE VALUE_TYPE

   Loads the model, prints "ready", and answers each line "KIND DEPTH TOKENS" of its standard input
   with the seconds that TOKENS took after DEPTH earlier ones. KIND is prefill, decode (each token
   is sampled from the logits of the one before) or forward (tokens at random, as llama-bench). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "llama.h"

#define KIND_BYTES 64

static void drop_log(enum ggml_log_level level, const char * text, void * user) {
    (void) level, (void) text, (void) user;
}

static void fail(const char * what) {
    fprintf(stderr, "native_loop: %s failed\n", what);
    exit(1);
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double) time.tv_sec + 1e-9 * (double) time.tv_nsec;
}

static struct llama_model * load(const char * path) {
    struct llama_model_params params = llama_model_default_params();
    params.load_mode = LLAMA_LOAD_MODE_NONE;
    struct llama_model * model = llama_model_load_from_file(path, params);
    if (!model) fail("loading");
    return model;
}

static struct llama_context * open_context(struct llama_model * model, char ** settings) {
    struct llama_context_params params = llama_context_default_params();
    params.n_threads = params.n_threads_batch = atoi(settings[0]);
    params.n_ctx = (uint32_t) atoi(settings[1]);
    params.n_batch = params.n_ubatch = (uint32_t) atoi(settings[2]);
    params.type_k = (enum ggml_type) atoi(settings[3]);
    params.type_v = (enum ggml_type) atoi(settings[4]);
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    struct llama_context * context = llama_init_from_model(model, params);
    if (!context) fail("making a context");
    return context;
}

static void decode(struct llama_context * context, llama_token * tokens, int count) {
    if (llama_decode(context, llama_batch_get_one(tokens, count))) fail("decoding");
}

static void read_at_random(struct llama_context * context, int count) {
    const struct llama_vocab * vocab = llama_model_get_vocab(llama_get_model(context));
    int batch = (int) llama_n_batch(context), kinds = llama_vocab_n_tokens(vocab);
    llama_token * tokens = malloc(sizeof(llama_token) * (size_t) batch);
    for (int done = 0; done < count; done += batch) {
        int some = count - done < batch ? count - done : batch;
        for (int i = 0; i < some; i++) tokens[i] = rand() % kinds;
        decode(context, tokens, some);
    }
    llama_synchronize(context);
    free(tokens);
}

static void write_answer(struct llama_context * context, struct llama_sampler * chain, int count) {
    llama_token token = llama_sampler_sample(chain, context, -1);
    for (int i = 0; i < count; i++) {
        decode(context, &token, 1);
        token = llama_sampler_sample(chain, context, -1);
    }
}

static double timed(
    struct llama_context * context, struct llama_sampler * chain, const char * kind, int depth, int count
) {
    llama_memory_clear(llama_get_memory(context), false);
    int is_prefill = !strcmp(kind, "prefill");
    read_at_random(context, depth || is_prefill ? depth : 1);
    double began = now_s();
    if (is_prefill) {
        read_at_random(context, count);
    } else if (!strcmp(kind, "decode")) {
        write_answer(context, chain, count);
    } else {
        for (int i = 0; i < count; i++) read_at_random(context, 1);
    }
    return now_s() - began;
}

int main(int count, char ** arguments) {
    if (count != 7) fail("reading the command line");
    llama_log_set(drop_log, NULL);
    llama_backend_init();
    struct llama_model * model = load(arguments[1]);
    struct llama_context * context = open_context(model, arguments + 2);
    struct llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(chain, llama_sampler_init_greedy());
    printf("ready\n");
    fflush(stdout);
    char kind[KIND_BYTES];
    int depth, tokens;
    while (scanf("%63s %d %d", kind, &depth, &tokens) == 3) {
        printf("%.9f\n", timed(context, chain, kind, depth, tokens));
        fflush(stdout);
    }
    llama_sampler_free(chain);
    llama_free(context);
    llama_model_free(model);
    return 0;
}
