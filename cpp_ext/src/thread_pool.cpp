#include "thread_pool.h"

namespace blurvote {

ThreadPool::ThreadPool(int threads) {
    for (int k = 1; k < threads; ++k) workers_.emplace_back([this, k] { work(k); });
}

ThreadPool::~ThreadPool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    start_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::drain(int thread) {
    for (int index = next_.fetch_add(1); index < count_; index = next_.fetch_add(1)) (*task_)(index, thread);
}

void ThreadPool::run(int count, const std::function<void(int, int)>& task) {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        task_ = &task;
        count_ = count;
        next_ = 0;
        open_ = true;
        ++run_;
    }
    if (!workers_.empty()) start_.notify_all();
    drain(0);
    // Everything has been handed out: wait for those who took some, not for those still waking up.
    std::unique_lock<std::mutex> lock(mutex_);
    open_ = false;
    finish_.wait(lock, [this] { return working_ == 0; });
}

void ThreadPool::work(int thread) {
    unsigned long seen = 0;
    for (;;) {
        {
            std::unique_lock<std::mutex> lock(mutex_);
            start_.wait(lock, [&] { return stop_ || (open_ && run_ != seen); });
            if (stop_) return;
            seen = run_;
            ++working_;
        }
        drain(thread);
        std::lock_guard<std::mutex> lock(mutex_);
        if (--working_ == 0) finish_.notify_one();
    }
}

}  // namespace blurvote
