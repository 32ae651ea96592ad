#ifndef CODIS_CLMDB_SHIM_H
#define CODIS_CLMDB_SHIM_H
#include <fcntl.h>
#include <lmdb.h>
#include <stdint.h>

/*
 * The head of a transaction of LMDB 0.9, which lmdb.h keeps to itself. It has stayed like this from 0.9.15 on. Numbers
 * of pages are read, or brought into another order, rows of tables are counted, and cursors moved with their rows, but
 * only after codis_lmdb_layout_is_known() and codis_lmdb_tables_are_known() have compared what is known otherwise.
 */
struct codis_lmdb_transaction {
    void *parent;
    void *child;
    size_t next_page;
    size_t number;
    MDB_env *environment;
    size_t *freed_pages; /* their number comes first */
    void *loose_pages;
    int loose_count;
    void *spilled_pages;
    /* Their number comes first, then each with its address in the map, in the order in which they were taken. */
    struct {
        size_t number;
        void *address;
    } *dirty;
    void *table_names;
    struct codis_lmdb_table *tables;
    unsigned int *table_sequences;
    void **table_cursors;
    unsigned char *table_flags;
    unsigned int table_count;
};

/* The head of a cursor of LMDB 0.9. */
struct codis_lmdb_cursor {
    struct codis_lmdb_cursor *next;
    void *backup;
    void *subcursor;
    MDB_txn *transaction;
    unsigned int table;
    struct codis_lmdb_table *tables_row;
    void *comparison;
    unsigned char *table_flag;
    uint16_t levels; /* none if it has been nowhere */
    uint16_t top;
    unsigned int flags;
    /* The pages from the root on where it stands, and the row on each. */
    void *pages[32];
    uint16_t rows[32];
};

/* What LMDB's file says of a table. */
struct codis_lmdb_table {
    uint32_t unused;
    uint16_t flags;
    uint16_t levels;
    size_t branch_pages;
    size_t leaf_pages;
    size_t overflow_pages;
    size_t entries;
    size_t root;
};

/* Whether a write transaction that has just begun, behind a file whose last page is last_page, looks as expected. */
static inline int codis_lmdb_layout_is_known(MDB_txn *transaction, size_t last_page) {
    const struct codis_lmdb_transaction *known = (const struct codis_lmdb_transaction *)transaction;
    return known->parent == 0 && known->child == 0 && known->next_page == last_page + 1
        && known->number == mdb_txn_id(transaction) && known->environment == mdb_txn_env(transaction)
        && known->freed_pages != 0 && known->freed_pages[0] == 0 && known->loose_pages == 0 && known->loose_count == 0 && known->spilled_pages == 0 && known->dirty != 0
        && known->dirty->number == 0;
}

/* Whether a cursor on the table of names, the first one there, looks as expected at both ends of that table. */
static inline int codis_lmdb_cursor_is_known(const struct codis_lmdb_transaction *transaction, MDB_cursor *cursor) {
    const struct codis_lmdb_cursor *known = (const struct codis_lmdb_cursor *)cursor;
    const struct codis_lmdb_table *names = transaction->tables + 1;
    const char *page;
    MDB_val key, value;
    int end;
    if (known->next != 0 || known->backup != 0 || known->transaction != (const MDB_txn *)transaction || known->table != 1
        || known->tables_row != names || known->table_flag != transaction->table_flags + 1)
        return 0;
    for (end = 0; end < 2; end++) {
        if (mdb_cursor_get(cursor, &key, &value, end ? MDB_LAST : MDB_FIRST) != 0) return 0;
        if (known->levels != names->levels || known->levels == 0 || known->levels > 32 || known->top != known->levels - 1)
            return 0;
        page = known->pages[known->top];
        if (*(const size_t *)known->pages[0] != names->root || (const char *)key.mv_data < page
            || (const char *)key.mv_data >= page + 65536
            || known->rows[known->top] != (end ? (*(const uint16_t *)(page + 12) - 16) / 2 - 1 : 0))
            return 0;
    }
    return 1;
}

/* Whether the list of tables looks as expected too: LMDB tells the same of the table of names, and lists a cursor. */
static inline int codis_lmdb_tables_are_known(MDB_txn *transaction) {
    const struct codis_lmdb_transaction *known = (const struct codis_lmdb_transaction *)transaction;
    const struct codis_lmdb_table *names;
    MDB_cursor *cursor;
    MDB_stat told;
    int is_listed;
    if (known->table_count < 2 || known->table_count > 65536 || known->tables == 0 || known->table_flags == 0
        || known->table_cursors == 0 || known->table_cursors[1] != 0 || mdb_stat(transaction, 1, &told) != 0
        || mdb_cursor_open(transaction, 1, &cursor) != 0)
        return 0;
    is_listed = known->table_cursors[1] == cursor && codis_lmdb_cursor_is_known(known, cursor);
    mdb_cursor_close(cursor);
    if (!is_listed || known->table_cursors[1] != 0) return 0;
    names = known->tables + 1;
    return names->levels == told.ms_depth && names->branch_pages == told.ms_branch_pages
        && names->leaf_pages == told.ms_leaf_pages && names->overflow_pages == told.ms_overflow_pages
        && names->entries == told.ms_entries && (known->table_flags[1] & 0x0A) == 0x08;
}

/* The levels of a table's tree, none if it is empty, and the page of its root; -1 if the transaction does not know. */
static inline int codis_lmdb_root(MDB_txn *transaction, unsigned int table, size_t *root) {
    const struct codis_lmdb_transaction *known = (const struct codis_lmdb_transaction *)transaction;
    /* It must be valid (0x08), and not stale (0x02). */
    if (table >= known->table_count || (known->table_flags[table] & 0x0A) != 0x08) return -1;
    *root = known->tables[table].root;
    return known->tables[table].levels;
}

/*
 * Whether a row may be put on a page of a table that the transaction has taken: it must know that the table is to be
 * written (0x01), and its keys be ordered as bytes.
 */
static inline int codis_lmdb_takes_rows(MDB_txn *transaction, unsigned int table) {
    const struct codis_lmdb_transaction *known = (const struct codis_lmdb_transaction *)transaction;
    return table < known->table_count && (known->table_flags[table] & 0x0B) == 0x09 && known->tables[table].flags == 0;
}

/*
 * Counts a row that was put there, as the one with this index of a leaf so many levels down; the cursors on the rows
 * behind it stay on them.
 */
static inline void codis_lmdb_count_row(MDB_txn *transaction, unsigned int table, const void *leaf, int levels, int index) {
    struct codis_lmdb_transaction *known = (struct codis_lmdb_transaction *)transaction;
    struct codis_lmdb_cursor *cursor;
    known->tables[table].entries += 1;
    for (cursor = known->table_cursors[table]; cursor != 0; cursor = cursor->next)
        if (cursor->levels >= levels && cursor->pages[levels - 1] == leaf && cursor->rows[levels - 1] >= index)
            cursor->rows[levels - 1] += 1;
}

/* How many pages a write transaction has taken so far: those it copied and those it added. */
static inline size_t codis_lmdb_dirty_pages(MDB_txn *transaction) {
    return ((const struct codis_lmdb_transaction *)transaction)->dirty->number;
}

/* The number of the page that it took as the one with this index. */
static inline size_t codis_lmdb_dirty_page(MDB_txn *transaction, size_t index) {
    return ((const struct codis_lmdb_transaction *)transaction)->dirty[index + 1].number;
}

/* How many pages that one is together with those behind it: more than one for a large value (flag 0x04). */
static inline size_t codis_lmdb_dirty_page_count(MDB_txn *transaction, size_t index) {
    const char *page = ((const struct codis_lmdb_transaction *)transaction)->dirty[index + 1].address;
    return *(const uint16_t *)(page + 10) & 0x04 ? *(const uint32_t *)(page + 12) : 1;
}

/* Whether it has let go of pages that it took. */
static inline int codis_lmdb_has_spilled(MDB_txn *transaction) {
    return ((const struct codis_lmdb_transaction *)transaction)->spilled_pages != 0;
}

/* How many pages of the last commit it does not need any more: what its commit has to write a list of. */
static inline size_t codis_lmdb_freed_pages(MDB_txn *transaction) {
    return ((const struct codis_lmdb_transaction *)transaction)->freed_pages[0];
}

/* The list of these pages, in no order, and their number. */
static inline size_t codis_lmdb_freed_list(MDB_txn *transaction, intptr_t **list) {
    size_t *known = ((const struct codis_lmdb_transaction *)transaction)->freed_pages;
    *list = (intptr_t *)known + 1;
    return known[0];
}

/* The first page behind the file as it is now. */
static inline size_t codis_lmdb_next_page(MDB_txn *transaction) {
    return ((const struct codis_lmdb_transaction *)transaction)->next_page;
}

/* Has the processor bring a line of memory into its cache, while it goes on. */
static inline void codis_prefetch(const void *address) { __builtin_prefetch(address); }
static inline void codis_prefetch_for_write(const void *address) { __builtin_prefetch(address, 1); }

/* The head of the page that a write transaction took as the one with this index. */
static inline void codis_lmdb_prefetch_dirty_page(MDB_txn *transaction, size_t index) {
    codis_prefetch(((const struct codis_lmdb_transaction *)transaction)->dirty[index + 1].address);
}
#endif
