//! Arms on the wire and in the domain.

use decant_model::Arm;

use super::v1 as wire;

impl From<Arm> for wire::Arm {
    fn from(arm: Arm) -> Self {
        match arm {
            Arm::Stable => Self::Stable,
            Arm::Canary => Self::Canary,
            Arm::Shadow => Self::Shadow,
            Arm::Teacher => Self::Teacher,
        }
    }
}

impl wire::Arm {
    /// The part that is meant; none when none was set.
    pub fn part(self) -> Option<Arm> {
        match self {
            Self::Unspecified => None,
            Self::Stable => Some(Arm::Stable),
            Self::Canary => Some(Arm::Canary),
            Self::Shadow => Some(Arm::Shadow),
            Self::Teacher => Some(Arm::Teacher),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arm_comes_back_as_it_went() {
        for arm in [Arm::Stable, Arm::Canary, Arm::Shadow, Arm::Teacher] {
            assert_eq!(wire::Arm::from(arm).part(), Some(arm));
        }
        assert_eq!(wire::Arm::Unspecified.part(), None);
    }
}
