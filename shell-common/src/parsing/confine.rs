//! The limits that a child sets on itself. They cannot be taken back.
//!
//! Two walls keep it from files and from the network: it may open no file descriptor, so that every
//! socket and every file fails; and, on Linux, the kernel refuses every system call that computing,
//! threads and memory do not need. Where the kernel has no such filter, the first wall stands alone.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Limits this process: memory, files, core.
pub(super) fn limit(memory: u64) -> io::Result<()> {
    let at_most = |resource, most: u64| {
        // A limit that the parent has must not be raised.
        let most = getrlimit(resource)
            .maximum
            .map_or(most, |now| now.min(most));
        setrlimit(
            resource,
            Rlimit {
                current: Some(most),
                maximum: Some(most),
            },
        )
    };
    at_most(Resource::As, memory)?;
    at_most(Resource::Core, 0)?;
    at_most(Resource::Fsize, 0)?;
    // Standard input, output and error, which are open.
    at_most(Resource::Nofile, 3)?;
    Ok(())
}

/// Lets this process use the processor until it has used it for this many seconds, all in all.
pub(super) fn until(seconds: u64) -> io::Result<()> {
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = maximum.map_or(seconds, |most| most.min(seconds));
    setrlimit(
        Resource::Cpu,
        Rlimit {
            current: Some(current),
            maximum,
        },
    )?;
    Ok(())
}

/// Installs the filter of system calls. `false` if there is none here.
#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "x86_64"
    )
))]
pub(super) fn filter() -> bool {
    seccomp::install().is_some()
}

/// Elsewhere there is none.
#[cfg(not(all(
    target_os = "linux",
    any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "x86_64"
    )
)))]
pub(super) fn filter() -> bool {
    false
}

#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "x86_64"
    )
))]
mod seccomp {
    use std::collections::BTreeMap;

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, apply_filter,
    };

    /// Calls that concern this process only.
    const ALLOWED: [libc::c_long; 36] = [
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_fstat,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_gettimeofday,
        libc::SYS_lseek,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_ppoll,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_sigaltstack,
        libc::SYS_sysinfo,
        libc::SYS_write,
        libc::SYS_writev,
    ];

    /// An argument of a call, by its place, has this value.
    fn is(place: u8, value: u64) -> Option<SeccompCondition> {
        SeccompCondition::new(place, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value).ok()
    }

    /// An argument has this bit.
    fn has(place: u8, bit: u64) -> Option<SeccompCondition> {
        let masked = SeccompCmpOp::MaskedEq(bit);
        SeccompCondition::new(place, SeccompCmpArgLen::Qword, masked, bit).ok()
    }

    pub(super) fn install() -> Option<()> {
        let mut calls: BTreeMap<i64, Vec<SeccompRule>> =
            ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
        let rule = |condition| SeccompRule::new(vec![condition]).ok();
        let this = u64::from(std::process::id());
        // Threads, but no processes. clone3 hides its flags in memory: it is "not implemented", and
        // the C library falls back to clone.
        calls.insert(
            libc::SYS_clone,
            vec![rule(has(0, libc::CLONE_THREAD as u64)?)?],
        );
        // Reading a limit, and the limit of the processor's time.
        let reads = rule(is(2, 0)?)?;
        let cpu = rule(is(1, libc::RLIMIT_CPU as u64)?)?;
        calls.insert(libc::SYS_prlimit64, vec![reads, cpu]);
        // `abort` sends a signal to the own process.
        calls.insert(libc::SYS_tgkill, vec![rule(is(0, this)?)?]);
        // The name of a thread.
        calls.insert(
            libc::SYS_prctl,
            vec![rule(is(0, libc::PR_SET_NAME as u64)?)?],
        );
        let refused = SeccompAction::Errno(libc::ENOSYS as u32);
        let architecture = std::env::consts::ARCH.try_into().ok()?;
        let filter = SeccompFilter::new(calls, refused, SeccompAction::Allow, architecture).ok()?;
        let program: BpfProgram = filter.try_into().ok()?;
        apply_filter(&program).ok()
    }
}
