/* The floor of a no-change scan: names and statx of everything under a folder, by two threads, and nothing else.
 * cc -O2 -pthread walk.c -o walk && ./walk FOLDER */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static char **waiting;
static size_t waiting_count, waiting_room, busy;
static long entries;

static void put(char *path) {
    pthread_mutex_lock(&lock);
    if (waiting_count == waiting_room) {
        waiting_room = waiting_room ? waiting_room * 2 : 1024;
        waiting = realloc(waiting, waiting_room * sizeof *waiting);
        if (!waiting) abort();
    }
    waiting[waiting_count++] = path;
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&lock);
}

static long walk_folder(const char *path) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    long seen = 0;
    if (!folder) return 0;
    while ((entry = readdir(folder))) {
        struct statx info;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (statx(dirfd(folder), entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &info)) continue;
        seen++;
        if (S_ISDIR(info.stx_mode)) {
            char *inner;
            if (asprintf(&inner, "%s/%s", path, entry->d_name) < 0) abort();
            put(inner);
        }
    }
    closedir(folder);
    return seen;
}

static void *work(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!waiting_count && busy) pthread_cond_wait(&more, &lock);
        if (!waiting_count) break;
        char *path = waiting[--waiting_count];
        busy++;
        pthread_mutex_unlock(&lock);
        long seen = walk_folder(path);
        free(path);
        pthread_mutex_lock(&lock);
        entries += seen;
        busy--;
        pthread_cond_broadcast(&more);
    }
    pthread_cond_broadcast(&more);
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(int count, char **words) {
    pthread_t threads[2];
    if (count != 2) return 2;
    put(strdup(words[1]));
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("%ld entries\n", entries);
    return 0;
}
