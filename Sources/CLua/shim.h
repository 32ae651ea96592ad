// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT
//
// Lua 5.1, and the few things about it that cannot be said in Swift:
//
// - Lua raises errors with longjmp, which must not leap over Swift's frames. So a function written in Swift only says
//   that it failed; `codis_trampoline`, which called it, raises the error after Swift's frame has returned. Whatever
//   Swift calls itself either cannot fail, or can only for want of memory: then the process ends, as it does for want
//   of memory anywhere in Swift (`must_succeed`).
// - A script runs on a stack of its own. When it has run for too long, the hook that Lua calls now and then switches
//   back to the event loop's stack, with all of the script's C and Lua frames left as they are. Lua 5.1 could not yield
//   in the same place: not across pcall, metamethods, sort and gsub.

#ifndef CODIS_CLUA_SHIM_H
#define CODIS_CLUA_SHIM_H

#include <lua5.1/lua.h>
#include <lua5.1/lauxlib.h>
#include <lua5.1/lualib.h>
#include <lua5.1/lua-cjson.h>
#include <lua5.1/lua-bitop.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

/// What belongs to one interpreter; its allocator knows it, and so does whoever has a `lua_State`.
typedef struct codis_host {
    /// The Swift object that the interpreter belongs to.
    void *context;
    lua_State *lua;
    /// The bytes that Lua has allocated, and how many it may.
    size_t bytes;
    size_t most_bytes;
    /// Whether Swift's frames are in the way of an error, so that there must not be one.
    int must_succeed;
    /// The state of the generator behind math.random.
    uint64_t random;
    /// Whether cjson was told to write arrays however sparse they are.
    int has_sparse_arrays;

    /// Whether a script is under way, be it suspended or not, and what came of the last.
    int is_running;
    int status;
    /// Nanoseconds of the monotonic clock after which the script is suspended whenever the hook is called.
    int64_t deadline;
    /// The same clock as whoever called a function written in Swift has read it last.
    int64_t now;
    /// Whether the script is to end as soon as possible, and where it was when it was told to.
    int is_killed;
    char place[160];
    /// Whether the next allocation is to fail.
    int fails_once;

    char *stack;
    size_t stack_bytes;
#if defined(__x86_64__)
    void *loop_frame;
    void *script_frame;
#else
    ucontext_t loop_frame;
    ucontext_t script_frame;
#endif
} codis_host;

/// What a function written in Swift returns: how many results are on top of the stack, or one of these. All of them
/// expect the error on top of the stack. Less than the last of them, it is about an argument: -10 about the first.
enum {
    /// The error as it is.
    CODIS_RAISE = -1,
    /// The error with the place of the caller in front.
    CODIS_RAISE_HERE = -2,
    /// The same about an argument that does not exist, number 0.
    CODIS_RAISE_ARGUMENT = -9
};

typedef int (*codis_function)(lua_State *);

static inline codis_host *codis_host_of(lua_State *L) {
    void *host;
    lua_getallocf(L, &host);
    return (codis_host *)host;
}

// MARK: Memory

static void *codis_allocate(void *context, void *block, size_t old_size, size_t new_size) {
    codis_host *host = (codis_host *)context;
    if (new_size == 0) {
        host->bytes -= old_size;
        free(block);
        return NULL;
    }
    if (new_size > old_size && !host->must_succeed && host->bytes + (new_size - old_size) > host->most_bytes) {
        return NULL;
    }
    if (host->fails_once) {
        host->fails_once = 0;
        return NULL;
    }
    void *moved = realloc(block, new_size);
    if (moved == NULL) {
        if (host->must_succeed || new_size <= old_size) abort();
        return NULL;
    }
    host->bytes += new_size - old_size;
    return moved;
}

// MARK: Stacks

#if defined(__x86_64__)

/// Saves what a call must preserve on the stack, keeps that place in `from`, and goes on at the place `to`.
__attribute__((naked, noinline, unused)) static void codis_switch(void **from, void *to) {
    __asm__ volatile(
        "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
        "movq %rsp, (%rdi)\n\t"
        "movq %rsi, %rsp\n\t"
        "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\t"
        "retq\n\t");
}

/// Where a new stack begins: the function in r13 with r12 as its argument.
__attribute__((naked, noinline, unused)) static void codis_enter(void) {
    __asm__ volatile("movq %r12, %rdi\n\tjmpq *%r13\n\t");
}

static inline void codis_to_script(codis_host *host) { codis_switch(&host->loop_frame, host->script_frame); }
static inline void codis_to_loop(codis_host *host) { codis_switch(&host->script_frame, host->loop_frame); }

static inline void codis_make_frame(codis_host *host, void (*function)(codis_host *)) {
    void **frame = (void **)(host->stack + host->stack_bytes) - 8;
    memset(frame, 0, 8 * sizeof(void *));
    // In the order in which `codis_switch` takes them: r15, r14, r13, r12, rbx, rbp, and where it returns to. The last
    // word is where a caller's address would be, which also aligns the stack.
    frame[2] = (void *)function;
    frame[3] = host;
    frame[6] = (void *)codis_enter;
    host->script_frame = frame;
}

#else

static inline void codis_to_script(codis_host *host) { swapcontext(&host->loop_frame, &host->script_frame); }
static inline void codis_to_loop(codis_host *host) { swapcontext(&host->script_frame, &host->loop_frame); }

typedef struct codis_entry {
    codis_host *host;
    void (*function)(codis_host *);
} codis_entry;

static void codis_enter(unsigned high, unsigned low) {
    codis_entry *entry = (codis_entry *)((uintptr_t)high << 32 | low);
    entry->function(entry->host);
}

static inline void codis_make_frame(codis_host *host, void (*function)(codis_host *)) {
    codis_entry *entry = (codis_entry *)(host->stack + host->stack_bytes) - 1;
    entry->host = host;
    entry->function = function;
    uintptr_t address = (uintptr_t)entry;
    getcontext(&host->script_frame);
    host->script_frame.uc_stack.ss_sp = host->stack;
    host->script_frame.uc_stack.ss_size = host->stack_bytes - 64;
    makecontext(
        &host->script_frame, (void (*)(void))codis_enter, 2, (unsigned)(address >> 32), (unsigned)address);
}

#endif

/// Lets the event loop turn; comes back when it goes on with the script. If that was killed, the hook is called at once.
static inline void codis_take_turns(lua_State *L, codis_host *host) {
    codis_to_loop(host);
    if (host->is_killed) lua_sethook(L, lua_gethook(L), LUA_MASKCOUNT, 1);
}

// MARK: Functions written in Swift

static int codis_trampoline(lua_State *L) {
    codis_host *host = codis_host_of(L);
    codis_function function = (codis_function)lua_touserdata(L, lua_upvalueindex(1));
    int outer = host->must_succeed;
    host->must_succeed = 1;
    int result = function(L);
    host->must_succeed = outer;
    if (host->now >= host->deadline && host->is_running) {
        host->now = 0;
        codis_take_turns(L, host);
    }
    if (result >= 0) return result;
    if (result == CODIS_RAISE) return lua_error(L);
    if (result == CODIS_RAISE_HERE) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
        return lua_error(L);
    }
    return luaL_argerror(L, CODIS_RAISE_ARGUMENT - result, lua_tostring(L, -1));
}

static inline void codis_push_function(lua_State *L, codis_function function) {
    lua_pushlightuserdata(L, (void *)function);
    lua_pushcclosure(L, codis_trampoline, 1);
}

/// Where the function at `level` of the call stack is: 0 if there is none.
static inline int codis_place(lua_State *L, int level, const char **source, int *line, int *is_c) {
    lua_Debug record;
    if (!lua_getstack(L, level, &record) || !lua_getinfo(L, "Sl", &record)) return 0;
    // The name of the source lives as long as its function, which the caller leaves where it is.
    *source = record.source;
    *line = record.currentline;
    *is_c = strcmp(record.what, "C") == 0;
    return 1;
}

/// The C function at `level` of the call stack, NULL if it is none.
static inline lua_CFunction codis_c_function(lua_State *L, int level) {
    lua_Debug record;
    if (!lua_getstack(L, level, &record) || !lua_getinfo(L, "f", &record)) return NULL;
    lua_CFunction function = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    return function;
}

// MARK: The sandbox

/// Calls the function that was wrapped in place of the wrapper: with its arguments and its first upvalue.
static int codis_call_wrapped(lua_State *L) {
    int has_upvalue = lua_type(L, lua_upvalueindex(2)) == LUA_TLIGHTUSERDATA;
    return ((lua_CFunction)lua_touserdata(L, lua_upvalueindex(has_upvalue ? 2 : 1)))(L);
}

/// `string.find` and its like, without patterns so long that matching them would exhaust the C stack.
static int codis_match(lua_State *L) {
    if (lua_isstring(L, 2) && lua_objlen(L, 2) > 65536) return luaL_error(L, "malformed pattern (too long)");
    return codis_call_wrapped(L);
}

/// `unpack`, whose own check of how many values there are the compiler of Debian's library has dropped.
static int codis_unpack(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    int64_t first = luaL_optint(L, 2, 1);
    int64_t last = lua_isnoneornil(L, 3) ? (int64_t)lua_objlen(L, 1) : luaL_checkint(L, 3);
    if (first <= last && (last - first >= INT32_MAX || !lua_checkstack(L, (int)(last - first + 1)))) {
        return luaL_error(L, "too many results to unpack");
    }
    return codis_call_wrapped(L);
}

/// `bit.tohex`, which knows no end if the number of digits is the least integer.
static int codis_tohex(lua_State *L) {
    if (lua_isnumber(L, 2)) {
        // The library's own way from a number to 32 bits.
        double shifted = lua_tonumber(L, 2) + 6755399441055744.0;
        uint64_t bits;
        memcpy(&bits, &shifted, sizeof(bits));
        if ((uint32_t)bits == 0x80000000) {
            lua_pushinteger(L, -8);
            lua_replace(L, 2);
        }
    }
    return codis_call_wrapped(L);
}

/// `cjson.decode`, which counts bytes with 32 bits.
static int codis_json_decode(lua_State *L) {
    if (lua_isstring(L, 1) && lua_objlen(L, 1) > 1 << 30) return luaL_error(L, "JSON text is too long");
    return codis_call_wrapped(L);
}

/// The most bytes that the value on top of the stack can take as JSON, or more than `room` if that is too little.
static size_t codis_json_bytes(lua_State *L, int is_sparse, size_t room, int depth) {
    // Numbers are written into at most 32 bytes; whatever else is no string or table is shorter.
    if (lua_type(L, -1) == LUA_TSTRING) return lua_objlen(L, -1) * 6 + 3;
    if (lua_type(L, -1) != LUA_TTABLE || depth == 0 || !lua_checkstack(L, 8)) return 32;
    size_t total = 2;
    double greatest = 0;
    lua_pushnil(L);
    while (total <= room && lua_next(L, -2)) {
        total += codis_json_bytes(L, is_sparse, room - total, depth - 1) + 2;
        lua_pop(L, 1);
        total += lua_type(L, -1) == LUA_TSTRING ? lua_objlen(L, -1) * 6 + 3 : 32;
        if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) > greatest) greatest = lua_tonumber(L, -1);
        if (total > room) lua_pop(L, 1);
    }
    // Every hole becomes `null,`.
    if (is_sparse && greatest * 5 > (double)room) return room + 1;
    return is_sparse ? total + (size_t)greatest * 5 : total;
}

/// `cjson.encode`, which counts bytes with 32 bits.
static int codis_json_encode(lua_State *L) {
    if (lua_gettop(L) == 1) {
        size_t bytes = codis_json_bytes(L, codis_host_of(L)->has_sparse_arrays, 1 << 30, 1000);
        lua_settop(L, 1);
        if (bytes > 1 << 30) return luaL_error(L, "JSON text is too long");
    }
    return codis_call_wrapped(L);
}

/// `cjson.encode_sparse_array(convert, ratio, safe)`: keeps in mind whether there is a limit on holes still.
static int codis_json_sparse(lua_State *L) {
    if (lua_isnumber(L, 2) && lua_tonumber(L, 2) < 1) codis_host_of(L)->has_sparse_arrays = 1;
    if (lua_isnumber(L, 3) && lua_tonumber(L, 3) > 1 << 20) codis_host_of(L)->has_sparse_arrays = 1;
    return codis_call_wrapped(L);
}

static void codis_wrap(lua_State *L, const char *name, lua_CFunction wrapper);

static int codis_json_new(lua_State *L);

static void codis_wrap_json(lua_State *L) {
    codis_wrap(L, "encode", codis_json_encode);
    codis_wrap(L, "decode", codis_json_decode);
    codis_wrap(L, "encode_sparse_array", codis_json_sparse);
    codis_wrap(L, "new", codis_json_new);
}

/// `cjson.new`: the library once more, with settings of its own.
static int codis_json_new(lua_State *L) {
    int count = codis_call_wrapped(L);
    if (count == 1 && lua_istable(L, -1)) codis_wrap_json(L);
    return count;
}

/// Puts `wrapper` in front of the function `name` of the table on top of the stack, if it is there.
static void codis_wrap(lua_State *L, const char *name, lua_CFunction wrapper) {
    lua_getfield(L, -1, name);
    lua_CFunction wrapped = lua_tocfunction(L, -1);
    if (wrapped == NULL) {
        lua_pop(L, 1);
        return;
    }
    int upvalues = lua_getupvalue(L, -1, 1) != NULL;
    lua_pushlightuserdata(L, (void *)wrapped);
    lua_pushcclosure(L, wrapper, upvalues + 1);
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
}

/// Gives the pieces of a chunk to the parser: before the first a blank, which makes it text whatever it begins with.
typedef struct codis_chunk {
    const char *text;
    size_t length;
    int is_begun;
} codis_chunk;

static const char *codis_read_text(lua_State *L, void *context, size_t *length) {
    codis_chunk *chunk = (codis_chunk *)context;
    (void)L;
    if (!chunk->is_begun) {
        chunk->is_begun = 1;
        *length = 1;
        return " ";
    }
    if (chunk->length == 0) return NULL;
    *length = chunk->length;
    chunk->length = 0;
    return chunk->text;
}

static const char *codis_read_pieces(lua_State *L, void *context, size_t *length) {
    codis_chunk *chunk = (codis_chunk *)context;
    if (!chunk->is_begun) {
        chunk->is_begun = 1;
        *length = 1;
        return " ";
    }
    luaL_checkstack(L, 2, "too many nested functions");
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        *length = 0;
        return NULL;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
    // Anchored where the function's third argument would be, until the next piece.
    lua_replace(L, 3);
    return lua_tolstring(L, 3, length);
}

static int codis_loaded(lua_State *L, int status) {
    if (status == 0) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/// Whether what is at `text` would be taken for a compiled chunk, which nobody checks.
static inline int codis_is_binary(const char *text, size_t length) {
    return length > 0 && text[0] == LUA_SIGNATURE[0];
}

/// `loadstring`, for text only.
static int codis_loadstring(lua_State *L) {
    codis_chunk chunk = {0};
    chunk.text = luaL_checklstring(L, 1, &chunk.length);
    const char *name = luaL_optstring(L, 2, chunk.text);
    chunk.is_begun = !codis_is_binary(chunk.text, chunk.length);
    return codis_loaded(L, lua_load(L, codis_read_text, &chunk, name));
}

/// `load`, for text only.
static int codis_load(lua_State *L) {
    codis_chunk chunk = {0};
    const char *name = luaL_optstring(L, 2, "=(load)");
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 3);
    return codis_loaded(L, lua_load(L, codis_read_pieces, &chunk, name));
}

/// Opens a library as the global `name`.
static inline void codis_open(lua_State *L, const char *name, lua_CFunction function) {
    lua_pushcfunction(L, function);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    if (name[0] != 0) {
        lua_setglobal(L, name);
    } else {
        lua_pop(L, 1);
    }
}

static inline void codis_remove_global(lua_State *L, const char *name) {
    lua_pushnil(L);
    lua_setglobal(L, name);
}

static inline void codis_open_libraries(lua_State *L) {
    codis_open(L, "", luaopen_base);
    codis_open(L, LUA_TABLIBNAME, luaopen_table);
    codis_open(L, LUA_STRLIBNAME, luaopen_string);
    codis_open(L, LUA_MATHLIBNAME, luaopen_math);
    codis_open(L, "cjson", luaopen_cjson);
    codis_open(L, "bit", luaopen_bit);
    // Files are none of a script's business. newproxy would run functions of scripts at any allocation.
    codis_remove_global(L, "loadfile");
    codis_remove_global(L, "dofile");
    codis_remove_global(L, "newproxy");
    lua_pushcfunction(L, codis_load);
    lua_setglobal(L, "load");
    lua_pushcfunction(L, codis_loadstring);
    lua_setglobal(L, "loadstring");
    lua_getglobal(L, LUA_STRLIBNAME);
    codis_wrap(L, "find", codis_match);
    codis_wrap(L, "match", codis_match);
    codis_wrap(L, "gmatch", codis_match);
    codis_wrap(L, "gfind", codis_match);
    codis_wrap(L, "gsub", codis_match);
    lua_pop(L, 1);
    lua_getglobal(L, "cjson");
    codis_wrap_json(L);
    lua_pop(L, 1);
    lua_getglobal(L, "bit");
    codis_wrap(L, "tohex", codis_tohex);
    lua_pop(L, 1);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    codis_wrap(L, "unpack", codis_unpack);
    lua_pop(L, 1);
}

// MARK: Protection of the globals

/// What the function that reads or writes a global is: 0 if there is none, else the first letter of its kind.
static inline char codis_accessor(lua_State *L) {
    lua_Debug record;
    if (!lua_getstack(L, 1, &record) || !lua_getinfo(L, "S", &record)) return 0;
    return record.what[0];
}

/// Raises an error about the global whose name is at 2 of the stack.
static int codis_refuse_global(lua_State *L, const char *text) {
    luaL_where(L, 1);
    lua_pushstring(L, text);
    if (lua_type(L, 2) == LUA_TSTRING || lua_type(L, 2) == LUA_TNUMBER) {
        lua_pushvalue(L, 2);
    } else {
        lua_pushstring(L, luaL_typename(L, 2));
    }
    lua_pushliteral(L, "'");
    lua_concat(L, 4);
    return lua_error(L);
}

/// `__index` of the globals: only C may ask for what is not there.
static int codis_read_global(lua_State *L) {
    char accessor = codis_accessor(L);
    if (accessor != 0 && accessor != 'C') {
        return codis_refuse_global(L, "Script attempted to access unexisting global variable '");
    }
    lua_settop(L, 2);
    lua_rawget(L, 1);
    return 1;
}

/// `__newindex` of the globals: only C and the outermost level of a chunk may make new ones.
static int codis_make_global(lua_State *L) {
    char accessor = codis_accessor(L);
    if (accessor != 0 && accessor != 'C' && accessor != 'm') {
        return codis_refuse_global(L, "Script attempted to create global variable '");
    }
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

static inline void codis_protect_globals(lua_State *L) {
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, codis_make_global);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, codis_read_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, LUA_GLOBALSINDEX);
}

// MARK: Running

/// Puts the place where an error happened in front of its text (Redis 2.8: scripting.c, __redis__err__handler).
static int codis_handle_error(lua_State *L) {
    const char *source;
    int line;
    int is_c;
    if (lua_type(L, 1) != LUA_TSTRING && lua_type(L, 1) != LUA_TNUMBER) {
        // In 2.8 the handler itself then fails, and handles its own error.
        lua_pushfstring(
            L, "@err_handler_def:8: err_handler_def:8: attempt to concatenate local 'err' (a %s value)",
            luaL_typename(L, 1));
        return 1;
    }
    int is_found = codis_place(L, 1, &source, &line, &is_c);
    if (is_found && is_c) {
        lua_CFunction function = codis_c_function(L, 1);
        is_found = codis_place(L, 2, &source, &line, &is_c);
        if (function == codis_read_global || function == codis_make_global) {
            // In 2.8 these two are written in Lua.
            source = "@enable_strict_lua";
            line = function == codis_read_global ? 15 : 8;
        }
    }
    lua_settop(L, 1);
    if (!is_found) return 1;
    lua_pushfstring(L, "%s:%d: ", source, line);
    lua_insert(L, 1);
    lua_concat(L, 2);
    return 1;
}

static inline int64_t codis_nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/// What runs on the script's stack for ever: one script after the other.
static void codis_run_scripts(codis_host *host) {
    for (;;) {
        host->must_succeed = 0;
        host->status = lua_pcall(host->lua, 0, 1, 1);
        host->must_succeed = 1;
        host->is_running = 0;
        codis_to_loop(host);
    }
}

enum {
    /// After so many instructions Lua calls the hook.
    CODIS_HOOK_INSTRUCTIONS = 100000
};

/// Called by Lua now and then: suspends a script that has run for too long, and ends one that was killed.
static void codis_hook(lua_State *L, lua_Debug *record) {
    codis_host *host = codis_host_of(L);
    (void)record;
    if (!host->is_running) return;
    if (!host->is_killed && codis_nanoseconds() >= host->deadline) codis_take_turns(L, host);
    if (host->is_killed) {
        // From now on at each instruction, so that no pcall of the script survives it.
        lua_sethook(L, codis_hook, LUA_MASKCOUNT, 1);
        const char *source;
        int line;
        int is_c;
        host->place[0] = 0;
        if (codis_place(L, 0, &source, &line, &is_c)) {
            snprintf(host->place, sizeof(host->place), "%.140s:%d: ", source, line);
        }
        // Any error would do but that xpcall's handler, which may be the script's, would run with no hook to stop it.
        // Want of memory is the one error that has no handler.
        host->fails_once = 1;
        lua_newuserdata(L, 1);
    }
    if (lua_gethookcount(L) != CODIS_HOOK_INSTRUCTIONS) {
        lua_sethook(L, codis_hook, LUA_MASKCOUNT, CODIS_HOOK_INSTRUCTIONS);
    }
}

/// Runs the function on top of the stack until it has ended or is suspended: then `is_running` is still 1.
static inline void codis_start(codis_host *host, int64_t deadline) {
    host->deadline = deadline;
    host->now = 0;
    host->fails_once = 0;
    host->is_killed = 0;
    host->is_running = 1;
    codis_to_script(host);
}

/// Goes on with a suspended script, which is then suspended again after `deadline`.
static inline void codis_resume(codis_host *host, int64_t deadline) {
    host->deadline = deadline;
    codis_to_script(host);
}

// MARK: Life

static inline codis_host *codis_host_new(void *context, size_t most_bytes) {
    codis_host *host = (codis_host *)calloc(1, sizeof(codis_host));
    if (host == NULL) abort();
    host->context = context;
    host->most_bytes = most_bytes;
    host->must_succeed = 1;
    // Address space only: a page is used when a script gets that deep. Below is one that nothing may touch.
    host->stack_bytes = 16 << 20;
    host->stack = (char *)mmap(
        NULL, host->stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (host->stack == (char *)MAP_FAILED || mprotect(host->stack, 16384, PROT_NONE) != 0) abort();
    codis_make_frame(host, codis_run_scripts);
    return host;
}

/// Makes an interpreter: 1 of its stack is the handler of errors, 2 the globals.
static inline lua_State *codis_open_interpreter(codis_host *host) {
    host->bytes = 0;
    lua_State *L = lua_newstate(codis_allocate, host);
    if (L == NULL) abort();
    host->lua = L;
    codis_open_libraries(L);
    codis_protect_globals(L);
    lua_settop(L, 0);
    lua_pushcfunction(L, codis_handle_error);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_sethook(L, codis_hook, LUA_MASKCOUNT, CODIS_HOOK_INSTRUCTIONS);
    return L;
}

static inline void codis_host_free(codis_host *host) {
    lua_close(host->lua);
    munmap(host->stack, host->stack_bytes);
    free(host);
}

static inline int codis_format_number(char *target, size_t length, double number) {
    return snprintf(target, length, "%.17g", number);
}

#endif
