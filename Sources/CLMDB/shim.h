#ifndef CODIS_CLMDB_SHIM_H
#define CODIS_CLMDB_SHIM_H
#include <fcntl.h>
#include <lmdb.h>

/*
 * The head of a transaction of LMDB 0.9, which lmdb.h keeps to itself. It has stayed like this from 0.9.15 on. Only
 * numbers of pages are read, and only after codis_lmdb_layout_is_known() has compared everything in it that is
 * known otherwise.
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
};

/* Whether a write transaction that has just begun, behind a file whose last page is last_page, looks as expected. */
static inline int codis_lmdb_layout_is_known(MDB_txn *transaction, size_t last_page) {
    const struct codis_lmdb_transaction *known = (const struct codis_lmdb_transaction *)transaction;
    return known->parent == 0 && known->child == 0 && known->next_page == last_page + 1
        && known->number == mdb_txn_id(transaction) && known->environment == mdb_txn_env(transaction)
        && known->freed_pages != 0 && known->freed_pages[0] == 0 && known->loose_pages == 0 && known->loose_count == 0 && known->spilled_pages == 0 && known->dirty != 0
        && known->dirty->number == 0;
}

/* How many pages a write transaction has taken so far: those it copied and those it added. */
static inline size_t codis_lmdb_dirty_pages(MDB_txn *transaction) {
    return ((const struct codis_lmdb_transaction *)transaction)->dirty->number;
}

/* The number of the page that it took as the one with this index. */
static inline size_t codis_lmdb_dirty_page(MDB_txn *transaction, size_t index) {
    return ((const struct codis_lmdb_transaction *)transaction)->dirty[index + 1].number;
}

/* How many pages of the last commit it does not need any more: what its commit has to write a list of. */
static inline size_t codis_lmdb_freed_pages(MDB_txn *transaction) {
    return ((const struct codis_lmdb_transaction *)transaction)->freed_pages[0];
}

/* The first page behind the file as it is now. */
static inline size_t codis_lmdb_next_page(MDB_txn *transaction) {
    return ((const struct codis_lmdb_transaction *)transaction)->next_page;
}

/* Linux's own allocation of blocks, which fcntl.h declares only with its extensions. */
extern int fallocate(int descriptor, int mode, off_t offset, off_t length);
#endif
